"""Waiting for room on a disk."""

from __future__ import annotations

import asyncio
import errno
import os

import pytest

from blocks import full_disks
from blocks.full_disks import is_full, when_there_is_room
from blocks.retrying import Pauses


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(full_disks, "_PAUSES", Pauses(0.001, 0.001))


def failing(times, number):
    faults = [OSError(number, os.strerror(number)) for _ in range(times)]

    def write():
        if faults:
            raise faults.pop()
        return "written"

    return write


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_what_is_written_waits_for_room_and_says_so_once(number, caplog):
    assert asyncio.run(when_there_is_room(failing(3, number))) == "written"
    [line] = caplog.messages
    assert os.strerror(number) in line


def test_another_fault_is_raised_at_once():
    with pytest.raises(PermissionError):
        asyncio.run(when_there_is_room(failing(1, errno.EACCES)))


def test_patience_ends_with_the_words_of_the_disk():
    with pytest.raises(OSError, match="No space left"):
        asyncio.run(when_there_is_room(failing(10**6, errno.ENOSPC), patience_s=0.01))


def test_a_full_disk_is_known_as_the_cause_of_another_error():
    wrapped = RuntimeError("the mail can't be kept")
    wrapped.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert is_full(wrapped)
    assert not is_full(OSError(errno.EROFS, "a visit's folder, which stays so"))
