import pytest

from tasks.simulation.replay import Series, UnusableImages, group_files, survey


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
