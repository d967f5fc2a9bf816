"""Whether a file is what it was."""

import os

import pytest

from tasks.file_version import are_as_before, file_version


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "meta.h5"
    file.write_text("old")
    os.utime(file, (1e9, 1e9))
    return file


def write_in_place(file):
    status = file.stat()
    file.write_text("new")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace_by_a_copy(file):
    status = file.stat()
    copy = file.with_name("copy")
    copy.write_text("new")
    os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
    copy.replace(file)


@pytest.mark.parametrize("change", [write_in_place, replace_by_a_copy, lambda file: file.unlink(), os.utime])
def test_a_change_is_noticed_even_where_the_date_and_the_size_are_as_before(file, change):
    versions = {str(file): file_version(str(file))}
    assert are_as_before(versions)
    change(file)
    assert not are_as_before(versions)


def test_reading_a_file_changes_nothing(file):
    version = file_version(str(file))
    file.read_text()
    assert file_version(str(file)) == version


@pytest.mark.parametrize("name", ["none.h5", "a\0b", "x" * 300])
def test_what_is_not_seen_has_no_version(name, tmp_path):
    path = str(tmp_path / name)
    assert file_version(path) is None
    assert are_as_before({path: None})
