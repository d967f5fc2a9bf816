"""What people name: files, images of masters, ranges, folders."""

import errno
import os
from pathlib import Path

import pytest

from tasks.spots.images import NamedFile, NoSuchImages, natural_key, read_name, without_repeats


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"x")

    return make


def test_an_image_or_a_master_is_named_by_its_path(files):
    files("a_1.cbf", "b.nxs")
    assert read_name("a_1.cbf") == [NamedFile("a_1.cbf")]
    assert read_name("b.nxs") == [NamedFile("b.nxs")]


def test_images_of_a_master_are_named_by_numbers(files):
    files("b.nxs")
    assert read_name("b.nxs:7") == [NamedFile("b.nxs", 7, 7)]
    assert read_name("b.nxs:7-9") == [NamedFile("b.nxs", 7, 9)]


def test_a_file_may_itself_be_called_as_a_range_is(files):
    files("b.nxs:7", "b.nxs")
    assert read_name("b.nxs:7") == [NamedFile("b.nxs:7")]
    assert read_name("b.nxs:8") == [NamedFile("b.nxs", 8, 8)]


def test_the_only_image_of_a_file_may_be_numbered(files):
    files("a_1.cbf")
    assert read_name("a_1.cbf:1") == [NamedFile("a_1.cbf")]
    with pytest.raises(NoSuchImages, match="is a file of one image, which has no image 2"):
        read_name("a_1.cbf:2")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("nothing.cbf", "nothing.cbf: No such file"),
        ("nothing.nxs:3", "nothing.nxs: No such file"),
        ("b.nxs:0", "expected images from 1 to 10,000,000, the first before the last; seen 0 to 0 of b.nxs"),
        ("b.nxs:9-7", "seen 9 to 7 of b.nxs"),
        ("pipe.cbf", "pipe.cbf is a pipe, no file"),
        (f"{'x' * 300}.cbf", "xxx.cbf: File name too long"),
        (f"{'x' * 300}.nxs:3", "xxx.nxs: File name too long"),
        ("b.nxs/a_1.cbf", "b.nxs/a_1.cbf: Not a directory"),
        ("none", "the folder none holds no images: .* seen 1 other file"),
    ],
)
def test_what_is_no_image_is_told_by_name_and_reason(files, name, complaint):
    files("b.nxs", "none/notes.txt")
    os.mkfifo("pipe.cbf")
    with pytest.raises(NoSuchImages, match=complaint):
        read_name(name)


def test_of_a_folder_images_and_masters_are_taken_in_natural_order(files):
    files(
        *("f/a_10.cbf", "f/a_9.cbf", "f/a_9.cbf.gz", "f/B_1.IMG", "f/.a_1.cbf", "f/notes.txt", "f/a_1.jpeg"),
        *("f/m.nxs", "f/m_master.h5", "f/m_000001.h5", "f/m_meta.h5", "f/n_master.h5", "f/n_data_000001.h5"),
        "f/sub/a_1.cbf",
    )
    found = read_name("f")
    assert [named.file for named in found] == [
        *("f/B_1.IMG", "f/a_9.cbf", "f/a_9.cbf.gz", "f/a_10.cbf", "f/m.nxs", "f/n_master.h5"),
    ]
    assert all(named.is_found for named in found)


@pytest.mark.parametrize("fault", [errno.EACCES, errno.ESTALE, errno.EIO])
def test_a_name_that_can_not_be_seen_is_told_whatever_the_system_says(files, monkeypatch, fault):
    files("closed/a_1.cbf")

    def stat(file):
        raise OSError(fault, os.strerror(fault), file)

    monkeypatch.setattr("tasks.spots.images.os.stat", stat)
    with pytest.raises(NoSuchImages, match=f"closed/a_1.cbf: {os.strerror(fault)}"):
        read_name("closed/a_1.cbf")


def test_a_link_that_nobody_may_follow_costs_a_folder_itself_alone(files, monkeypatch):
    class Entry:
        def __init__(self, name):
            self.name = name

        def is_file(self):
            if self.name == "b_1.cbf":
                raise PermissionError(errno.EACCES, "Permission denied")
            return True

    class Entries(list):
        __enter__ = list.__iter__

        def __exit__(self, *_):
            pass

    files("f/a_1.cbf")
    monkeypatch.setattr("tasks.spots.images.os.scandir", lambda _: Entries([Entry("a_1.cbf"), Entry("b_1.cbf")]))
    assert [named.file for named in read_name("f")] == ["f/a_1.cbf", "f/b_1.cbf"]


def test_names_are_in_natural_order_whatever_they_begin_with():
    assert sorted(["x", "10", "9", "x_2_10", "x_2_9", "²"], key=natural_key) == ["9", "10", "x", "x_2_9", "x_2_10", "²"]


def test_what_is_named_twice_is_done_once_whatever_it_is_called(files):
    files("f/a_1.cbf")
    Path("link_1.cbf").symlink_to("f/a_1.cbf")
    once, again = without_repeats([NamedFile("f/a_1.cbf"), NamedFile("f/../f/a_1.cbf"), NamedFile("link_1.cbf")])
    assert once == [NamedFile("f/a_1.cbf")]
    assert len(again) == 2
