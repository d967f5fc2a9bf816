"""What is said of the images of a master, and which are done; DIALS isn't needed to choose them."""

from pathlib import Path

import pytest

from tasks.diffraction.answers import StoredImages, UnreadFile
from tasks.spots.finding import SpotFinder, describe_missing

BROKEN = UnreadFile("/x/m_1.h5", "can't be read (truncated file)", 1, is_to_come=False)
TO_COME = UnreadFile("/x/m_3.h5", "isn't there", 5, is_to_come=True)


@pytest.fixture
def master(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.nxs").write_bytes(b"x")


@pytest.fixture
def listed(master, monkeypatch):
    """List what a master `m.nxs` holds that isn't read."""

    def list_images(content, *names):
        finder = SpotFinder(names or ["m.nxs"], processes=1)
        monkeypatch.setattr(finder, "_read_contents", lambda: {named.file: content for named in finder._files})
        return finder.list_images()

    return list_images


def test_a_data_file_that_is_to_come_is_a_note(listed):
    wanted = listed(StoredImages((1, 2, 3, 4), 6, 6, unread=(TO_COME,)))
    assert wanted.notes == ["m.nxs: 2 of 6 images can't be had: /x/m_3.h5 isn't there; the others are done"]
    assert not wanted.refused


@pytest.mark.parametrize("unread", [(BROKEN, TO_COME), (TO_COME, BROKEN)])
def test_a_broken_data_file_is_refused_and_named_first(listed, unread):
    wanted = listed(StoredImages((3, 4), 6, 6, unread=unread))
    assert wanted.refused == [
        "m.nxs: 4 of 6 images can't be had: /x/m_1.h5 can't be read (truncated file) (and 1 other file); "
        "the others are done"
    ]
    assert not wanted.notes
    assert [image.number for image in wanted.images] == [3, 4]


def test_a_master_without_any_image_is_refused_in_one_line(listed):
    wanted = listed(StoredImages((), 6, 6))
    assert wanted.refused == ["m.nxs: its 6 images aren't stored (yet)"]
    assert not wanted.notes


def test_of_whole_masters_nothing_is_said():
    assert describe_missing("m.nxs", StoredImages((1, 2), 2, 2)) is None


def test_images_behind_a_gap_can_be_asked_for(listed):
    content = StoredImages((1, 2, 5, 6), expected=4, last=6)
    wanted = listed(content, "m.nxs:6", "m.nxs:4-5", "m.nxs:6-7")
    assert [image.number for image in wanted.images] == [6, 4, 5]
    assert wanted.refused == ["m.nxs has images 1 to 6; asked for were 6 to 7"]


def test_an_image_is_done_once_however_its_master_is_named(listed):
    Path("link.nxs").symlink_to("m.nxs")
    Path("f").mkdir()
    content = StoredImages((1, 2, 3), expected=3, last=3)
    wanted = listed(content, "./m.nxs:1-2", "m.nxs:1", "link.nxs:2-3", "f/../m.nxs", str(Path("m.nxs").absolute()))
    assert [image.name for image in wanted.images] == ["./m.nxs:1", "./m.nxs:2", "link.nxs:3"]
