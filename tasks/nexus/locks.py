"""Whether a writer holds a file. To ask by locking the file would keep its writer out, if only for a moment."""

from __future__ import annotations

import fcntl
import os
import re
import struct
from contextlib import suppress
from pathlib import Path

from tasks.regular_files import open_regular

# As in `2: FLOCK  ADVISORY  WRITE 1234 fe:00:2163456 0 EOF`: what HDF5 takes; the device is in hexadecimal numbers.
_WRITE_LOCK = re.compile(r"^\d+: FLOCK +\w+ +WRITE +\S+ ([0-9a-f]+):([0-9a-f]+):(\d+) ", re.MULTILINE)
_LOCK = struct.Struct("@hhqqi")  # struct flock of 64-bit Linux: type, whence, start, length, process


def is_held_by_writer(path: str) -> bool:
    """Tell whether a process has a file open for writing, under a lock as HDF5 takes it; SWMR writers give theirs up.

    No lock is taken. What other machines hold is known where the file system makes HDF5's locks known as POSIX locks,
    as NFS does; of this machine's processes, those that are seen from where this one runs.

    Raises
    ------
    OSError
        The file can't be opened.
    """
    with open_regular(path) as file:
        descriptor = file.fileno()
        status = os.fstat(descriptor)
        return _is_locked_here(descriptor, status) or _is_locked_elsewhere(descriptor)


def _is_locked_here(descriptor: int, status: os.stat_result) -> bool:
    try:
        locks = Path("/proc/locks").read_text()
    except OSError:
        return False
    devices = [
        (int(major, 16), int(minor, 16))
        for major, minor, inode in _WRITE_LOCK.findall(locks)
        if int(inode) == status.st_ino
    ]
    if not devices:
        return False
    return (os.major(status.st_dev), os.minor(status.st_dev)) in devices or _mounted_device(descriptor) in devices


def _mounted_device(descriptor: int) -> tuple[int, int] | None:
    """Return the device of an open file's file system; Btrfs and overlays give their files another one."""
    with suppress(OSError, StopIteration, ValueError):
        details = Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines()
        mount = next(line.split()[1] for line in details if line.startswith("mnt_id:"))
        mounts = (line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines())
        major, minor = next(fields[2] for fields in mounts if fields[0] == mount).split(":")
        return int(major), int(minor)
    return None


def _is_locked_elsewhere(descriptor: int) -> bool:
    """Ask the file system for a lock that would be in a reader's way."""
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, _LOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0))
    except OSError:  # no lock daemon
        return False
    return bool(_LOCK.unpack(answer)[0] == fcntl.F_WRLCK)
