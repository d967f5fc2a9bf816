"""Open files that may be something else: a pipe, a device, a folder, which hold up or fill whoever reads them.

Only what is in Python's own library is needed, for processes that have to start at once.
"""

from __future__ import annotations

import errno
import os
import stat
from functools import cache
from typing import BinaryIO


class NotRegular(OSError):
    """There's something of this name that isn't a file."""


def kind_of(mode: int) -> str:
    """Say what a status's mode stands for, if it isn't a file."""
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def require_regular(path: str, status: os.stat_result) -> None:
    """Make sure that a status is that of a file that lies on a disk.

    Raises
    ------
    NotRegular
        It's a folder, a pipe, a device, or something that the kernel makes up.
    """
    if not stat.S_ISREG(status.st_mode):
        raise NotRegular(errno.EINVAL, f"is {kind_of(status.st_mode)}, no file", path)
    if status.st_dev in _kernel_devices():
        raise NotRegular(errno.EINVAL, "is made up by the kernel, no file", path)


def unfit_kind(path: str) -> str | None:
    """Say what something is that is there and no file; None of a file, and of what isn't seen."""
    try:
        require_regular(path, os.stat(path))  # noqa: PTH116 - once an image
    except NotRegular as error:
        return error.strerror
    except (OSError, ValueError):
        return None
    return None


@cache
def _kernel_devices() -> frozenset[int]:
    """Return the devices of the kernel's own file systems, whose files may block, or have no end."""
    own = "/", "/dev/shm"  # where they are part of something else, files are files
    found = {os.stat(folder).st_dev for folder in ("/proc", "/sys") if os.path.isdir(folder)}  # noqa: PTH112, PTH116
    return frozenset(found - {os.stat(folder).st_dev for folder in own if os.path.isdir(folder)})  # noqa: PTH112, PTH116


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file for reading, without waiting for anybody at its other end.

    Raises
    ------
    NotRegular
        It's no file.
    OSError
        It can't be opened.
    ValueError
        Its name has a NUL in it.
    """
    # Opened first, then looked at: in between, somebody may put something else there
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        require_regular(os.fspath(path), os.fstat(descriptor))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: str | os.PathLike[str], most: int) -> bytes:
    """Return the first `most` bytes of a file.

    Raises
    ------
    NotRegular
        It's no file.
    OSError
        It can't be read.
    ValueError
        Its name has a NUL in it.
    """
    with open_regular(path) as file:
        return file.read(most)
