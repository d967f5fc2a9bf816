"""From templates to files and back."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.ispyb_access.reading.image_files import (
    SweepFiles,
    file_name,
    image_file,
    image_number,
    image_pattern,
    last_image,
    sweep_files,
)


@pytest.mark.parametrize(
    ("template", "name", "number"),
    [
        ("lys_1_####.cbf", "lys_1_0012.cbf", 12),
        ("lys_1_####.cbf", "lys_1_12345.cbf", 12345),
        ("lys_1_####.cbf", "lys_1_012.cbf", None),
        ("lys_1_####.cbf", "lys_1_0012.cbf.gz", None),
        ("lys_1_####.cbf", "xlys_1_0012.cbf", None),
        ("lys_1_####.cbf", "lys_1_00١٢.cbf", None),
        ("a#1_##.cbf", "a#1_07.cbf", 7),
        ("a.b+c_##.cbf", "a.b+c_07.cbf", 7),
        ("a.b+c_##.cbf", "aXb+c_07.cbf", None),
        ("lys_1.nxs", "lys_1.nxs", None),
        ("", "", None),
    ],
)
def test_number_of_an_image_is_read_from_its_name(template, name, number):
    assert image_number(template, name) == number


@given(st.text(st.characters(codec="utf-8", exclude_characters="/"), max_size=12), st.integers(0, 10**7))
def test_names_are_read_as_they_are_made(template, number):
    name = image_file("/d", template, number).removeprefix("/d/")
    if "#" in template:
        assert image_number(template, name) == number
        assert image_pattern(template) % number == name
    else:
        assert name == template == image_pattern(template)


@pytest.mark.parametrize(
    ("template", "pattern"),
    [("x_##_###.cbf", "x_##_%03d.cbf"), ("###", "%03d"), ("x_#", "x_%01d"), ("no%hash.h5", "no%hash.h5")],
)
def test_last_run_of_hashes_is_the_number(template, pattern):
    assert image_pattern(template) == pattern


@pytest.mark.parametrize("directory", ["/d", "/d/", "/d//"])
def test_directory_may_end_with_a_slash_or_not(directory):
    assert str(sweep_files(directory, "x_###.cbf", 5, 9)) == "/d/x_005.cbf:5:9"


@pytest.mark.parametrize("missing", range(4))
def test_sweep_needs_all_that_it_is_made_of(missing):
    facts = ["/d", "x_###.cbf", 1, 2]
    assert sweep_files(*facts) == SweepFiles("/d/x_001.cbf", 1, 2)
    facts[missing] = None
    assert sweep_files(*facts) is None


@pytest.mark.parametrize(
    ("first", "count", "last"), [(1, 10, 10), (5, 1, 5), (1, 0, 0), (None, 3, None), (1, None, None)]
)
def test_last_image(first, count, last):
    assert last_image(first, count) == last


@pytest.mark.parametrize("template", ["#" * 200_000 + "a#", "#a" * 100_000, "#" * 200_000 + "\n"])
def test_endless_templates_take_no_time(template):
    begin = time.monotonic()
    file_name(template, 1)
    image_pattern(template)
    assert time.monotonic() - begin < 5
