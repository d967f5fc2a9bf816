"""Patterns as recipes fill them: ISPyB's folder as it is, the file template with its number as a field."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.file_pattern import FilePattern
from tasks.ispyb_access.reading.image_files import image_file, image_pattern

NAMES = [
    "25% DMSO",
    "25% dmso",
    "50%glycerol",
    "100%",
    "%",
    "run%d",
    "x_%05d",
    "%s%n%(x)d",
    "{soak}",
    "{ispyb_visit}",
    "}{",
    "a b ",
    " a",
    ".hidden.",
    "...",
    "a#1",
    'it\'s "so"',
    "new\nline",
    "tab\tand\\backslash",
    "Größe",
    "Gro\u0308ße",  # decomposed: another name than the composed one
    "結晶",
    "[1]*?",
    "$HOME;&<>|",
    "n" * 255,
]


@pytest.mark.parametrize("folder", NAMES)
def test_a_folder_is_taken_as_ispyb_has_it(folder):
    pattern = f"/dls/i03/data/2026/mx1-1/{folder}/" + image_pattern("soak_1_####.cbf")
    assert FilePattern.parse(pattern).path(7) == f"/dls/i03/data/2026/mx1-1/{folder}/soak_1_0007.cbf"


@pytest.mark.parametrize("name", NAMES)
def test_all_of_a_template_but_its_number_is_taken_as_it_is(name):
    pattern = "/d/25% DMSO/" + image_pattern(f"{name}_####.cbf")
    assert FilePattern.parse(pattern).path(7) == f"/d/25% DMSO/{name}_0007.cbf"


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="/"), max_size=12)


@given(TEXT, TEXT, st.integers(1, 5), TEXT.filter(lambda text: "#" not in text), st.integers(0, 10**7))
def test_whatever_ispyb_says_gives_the_files_that_it_means(folder, before, width, after, number):
    template = f"{before}{'#' * width}{after}"
    directory = f"/d{re.sub('%+', '%', folder)}/"
    pattern = FilePattern.parse(directory + image_pattern(template))
    assert pattern.path(number) == image_file(directory, template, number)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("/data/100%%/x_%i.cbf", "/data/100%/x_3.cbf"),  # as printf and Zocalo would have it
        ("/data/50%%d/%%x_%d.cbf", "/data/50%d/%x_3.cbf"),
        ("x%3u", "x  3"),
        ("x%.4d", "x0003"),
        ("x%-4d.cbf", "x3   .cbf"),
        ("100% x%d", "100% x3"),
        ("50% dry_%04d.cbf", "50% dry_0003.cbf"),
        ("%%%%_%d%%", "%%_3%"),
        ("/data/25% DMSO/run_%03d/master.h5", "/data/25% DMSO/run_003/master.h5"),
    ],
)
def test_patterns_that_people_write(pattern, path):
    assert FilePattern.parse(pattern).path(3) == path


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("/data/x.cbf", "no fields"),
        ("/data/x_%s.cbf", "no fields"),
        ("/data/x_%%05d.cbf", "no fields"),
        ("/data/x_%999999999d.cbf", "no fields"),
        ("/data/x_%d_%d.cbf", "2 fields"),
        ("/data/a%d/b%d/x.cbf", "2 fields"),
    ],
)
def test_a_pattern_has_one_field(pattern, reason):
    with pytest.raises(ValueError, match=reason):
        FilePattern.parse(pattern)


@pytest.mark.parametrize(
    ("folders", "chosen"), [([], "50%"), (["50%"], "50%"), (["50%%"], "50%%"), (["50%", "50%%"], "50%%")]
)
def test_two_percent_signs_of_a_folder_are_two_where_such_a_folder_is(folders, chosen, tmp_path):
    for folder in folders:
        (tmp_path / folder).mkdir()
    pattern = FilePattern.parse(f"{tmp_path}/50%%/%03d.cbf").settled()
    assert pattern.path(1) == f"{tmp_path}/{chosen}/001.cbf"
    assert pattern.settled() == pattern
