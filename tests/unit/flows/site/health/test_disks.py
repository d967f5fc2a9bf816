"""How much room a disk has."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from flows.site.health.disks import MIB, Disk, look_at


def test_a_disk_with_room(tmp_path):
    disk = look_at("the home", tmp_path)
    assert disk.total > disk.free > 0
    assert not disk.fault
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_what_hinders_writing_is_found_though_there_is_free_space(number, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    disk = look_at("the home", tmp_path)
    assert disk.is_full
    assert os.strerror(number) in str(disk)


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EISDIR, errno.EACCES])
def test_what_says_nothing_of_the_disk_is_no_fault(number, tmp_path, monkeypatch):
    """A file system without nameless files; somebody who may only look."""

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    assert not look_at("the home", tmp_path).is_full


@pytest.mark.parametrize(
    ("free", "total", "full", "nearly"),
    [
        (31 * MIB, 300 * MIB, True, False),
        (100 * MIB, 300 * MIB, False, True),
        (2000 * MIB, 200_000 * MIB, False, True),
        (5000 * MIB, 200_000 * MIB, False, False),
    ],
)
def test_full_and_nearly_full(free, total, full, nearly):
    disk = Disk("the home", Path("/plaza"), free, total)
    assert (disk.is_full, disk.is_nearly_full) == (full, nearly)


def test_a_folder_that_cannot_be_looked_at_is_told(tmp_path):
    assert "No such file" in look_at("the home", tmp_path / "gone").fault
