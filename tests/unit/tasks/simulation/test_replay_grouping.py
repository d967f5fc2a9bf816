from pathlib import Path

import pytest

from tasks.simulation.file_groups import Series, UnusableImages, group_files
from tasks.simulation.image_set import describe_plan
from tasks.simulation.plan import CollectionPlan
from tasks.simulation.replay import survey


def numbered(pattern, numbers):
    return [pattern % number for number in numbers]


@pytest.mark.parametrize(
    ("names", "series"),
    [
        ([], []),
        (["notes.txt", "x_1.h5", "blank.cbf"], []),
        (numbered("thau_3_2_%04d.cbf.bz2", (1, 2, 3)), [Series("thau_3_2_####.cbf.bz2", (1, 2, 3))]),
        (numbered("a_1_%05d.cbf", (7, 8)), [Series("a_1_#####.cbf", (7, 8))]),
        (
            numbered("l_01_%05d.cbf.gz", (1, 2)) + numbered("l_02_%05d.cbf.gz", (1,)),
            [Series("l_01_#####.cbf.gz", (1, 2)), Series("l_02_#####.cbf.gz", (1,))],
        ),
        (["t_6_2_000001.h5", "t_6_2.nxs"], [Series("t_6_2.nxs")]),
        (["t_6_2_master.h5", "t_6_2.nxs", "t_6_2_000001.h5"], [Series("t_6_2.nxs")]),
        (["t_6_2_master.h5", "t_6_2_000001.h5"], [Series("t_6_2_master.h5")]),
    ],
)
def test_files_are_grouped_into_sweeps(names, series):
    assert group_files(names) == series


@pytest.mark.parametrize(
    ("names", "series"),
    [
        (numbered("x_%d.cbf.gz", range(8, 12)), [Series("x_#.cbf.gz", (8, 9, 10, 11))]),
        (numbered("x_%d.cbf", range(12)), [Series("x_#.cbf", tuple(range(12)))]),
        (numbered("x_%d.cbf", (98, 99, 100)), [Series("x_##.cbf", (98, 99, 100))]),
        (numbered("x_%03d.cbf", (998, 999, 1000, 1001)), [Series("x_###.cbf", (998, 999, 1000, 1001))]),
        (numbered("x_%04d.cbf", (0, 1)), [Series("x_####.cbf", (0, 1))]),
        ([*numbered("x_1_%d.cbf", (9, 10)), "x_2_1.cbf"], [Series("x_1_#.cbf", (9, 10)), Series("x_2_#.cbf", (1,))]),
    ],
)
def test_numbers_that_outgrow_their_width_are_one_sweep(names, series):
    assert group_files(reversed(names)) == series


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["x_1.cbf", "x_02.cbf"], r"x_#\.cbf has numbers of different widths, such as 1, 02"),
        (["x_001.cbf", "x_0002.cbf"], "different widths, such as 001, 0002"),
        (["x_01.cbf", "x_001.cbf"], "different widths, such as 01, 001"),
        (["x_8.cbf", "x_10.cbf"], r"x_#\.cbf has images 8 to 10 but not 9"),
        (["x_1.cbf", "x_2000000000.cbf"], "but not 2, 3, 4, 5, 6, 7, 8, 9, 10, 11:"),
        (["x_1.cbf", "x_1.cbf.gz"], r"x_… has images that end in \.cbf, \.cbf\.gz"),
        (["x_1.cbf.bz2", "x_2.cbf.gz"], "keep one of them"),
    ],
)
def test_files_that_are_no_one_sweep_for_sure_are_refused(names, reason):
    with pytest.raises(UnusableImages, match=reason):
        group_files(names)


ODD_NAMES = [
    "25% DMSO",
    "50%d",
    "{soak}",
    "a#1",
    "_",
    "..",
    " b ",
    "new\nline",
    "Größe",
    "結晶",
    "a.cbf-1",
    "t.h5.nxs",
    "[x]*",
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_are_kept_whatever_they_are(name):
    files = numbered(f"{name.replace('%', '%%')}_1_%d.cbf.gz", (9, 10))
    (series,) = group_files(files)
    assert (series.template, series.numbers) == (f"{name}_1_#.cbf.gz", (9, 10))
    sweep = describe_plan(CollectionPlan.rotation(2), Path("/ready")).model_copy(
        update={"template": series.template, "first": 9}
    )
    assert sweep.file_names() == files
    assert (sweep.prefix, sweep.number, sweep.suffix) == (name, 1, "cbf.gz")
    assert group_files([f"{name}_master.h5"]) == [Series(f"{name}_master.h5")]


def test_full_width_digits_are_no_number():
    assert group_files(["x_１２.cbf"]) == []


def test_a_gap_in_the_numbers_is_named():
    with pytest.raises(UnusableImages, match=r"a_1_####\.cbf has images 1 to 5 but not 3, 4"):
        group_files(numbered("a_1_%04d.cbf", (1, 2, 5)))


def test_a_folder_without_images_is_refused_with_what_was_expected(tmp_path):
    (tmp_path / "readme.txt").write_text("nothing here")
    with pytest.raises(UnusableImages, match=r"has no images: expected \.cbf"):
        survey(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UnusableImages, match=r"there is no folder .*absent"):
        survey(tmp_path / "absent")
