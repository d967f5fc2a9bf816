"""How much room a disk has, and whether a file can really be written to it."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

MIB = 2**20
FULL_BYTES = 32 * MIB
"""With less, PostgreSQL, which takes 16 MiB at a time for its log of changes, ends."""
NEARLY_FULL_BYTES = 1024 * MIB
NEARLY_FULL_SHARE = 0.02
_PROBE = bytes(64 * 1024)


@dataclass(frozen=True)
class Disk:
    """The disk of a folder.

    Parameters
    ----------
    of
        What the folder is, for people.
    fault
        Why nothing can be written there, if that was tried.
    """

    of: str
    folder: Path
    free: int
    total: int
    fault: str = ""

    @property
    def is_full(self) -> bool:
        """Services can't write what they must."""
        return bool(self.fault) or self.free < FULL_BYTES

    @property
    def is_nearly_full(self) -> bool:
        """Somebody should make room soon."""
        return not self.is_full and (self.free < NEARLY_FULL_BYTES or self.free < NEARLY_FULL_SHARE * self.total)

    def __str__(self) -> str:
        room = f"{_size(self.free)} free of {_size(self.total)}"
        return f"disk of {self.of} {self.folder}: {room}{f'; {self.fault}' if self.fault else ''}"


def look_at(of: str, folder: Path) -> Disk:
    """Return how much room there is for what a folder holds; what can't be read of it is its fault."""
    try:
        found = os.statvfs(folder)
    except OSError as error:
        return Disk(of, folder, 0, 0, error.strerror or str(error))
    return Disk(of, folder, found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize, _try_to_write(folder))


def _try_to_write(folder: Path) -> str:
    """Write a file without a name: free space says nothing of quotas, inodes, or a disk that is read-only now."""
    try:
        with open(os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600), "wb") as file:  # noqa: PTH123  # by descriptor
            file.write(_PROBE)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EISDIR, errno.EACCES, errno.EPERM):
            return ""  # a file system that has no such files; another user, who may only look
        return error.strerror or str(error)
    return ""


def _size(number: int) -> str:
    return f"{number / MIB:.0f} MB" if number < 10 * 1024 * MIB else f"{number / MIB / 1024:.0f} GB"
