"""Open HDF5 files without locks, and tell a file in the making from one that will never do."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from blocks.errors import causes_of
from tasks.file_version import file_version
from tasks.nexus.errors import FileAbsent, FileBusy, HeldByWriter, NotReady, UnusableMaster
from tasks.nexus.locks import is_held_by_writer
from tasks.regular_files import open_regular, unfit_kind

if TYPE_CHECKING:
    import h5py

IN_THE_MAKING_S = 600.0
"""Since a file was last written, after which it isn't taken to be in the making.

A writer or a copy that is alive writes more often; the rest is for a file server whose clock is behind ours. Who waits
for its step's retries gives up sooner anyway, and a file watcher learns in the end why nothing more comes.
"""

HDF5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError)
"""What h5py makes of HDF5's own errors, by their minor numbers."""

_OTHER_WAY = re.compile(
    "file is already open for write|SWMR read access flag not the same|file locking flag values don't match"
)
_ERRNO = re.compile(r"errno = (\d+)(?:, error message = '([^']*)')?")
_DENIED = frozenset({errno.EACCES, errno.EPERM})
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_LARGEST_USER_BLOCK = 2**20  # bytes; the signature is at byte 0, or at 512, 1024, 2048, … behind a user block
_NO_LOCKS = ("FALSE", "0")
_AS_HDF5_LOCKS: tuple[dict[str, bool], ...] = ({}, {"swmr": True})
_UNLOCKED: tuple[dict[str, bool], ...] = ({"locking": False}, {"locking": False, "swmr": True})


def open_file(path: str) -> h5py.File:
    """Open a file for reading, also while its writer writes it under SWMR, and without a lock.

    A reader's lock would keep a detector from opening its own file again, and where no lock daemon runs there is none.

    Raises
    ------
    NotReady
        It isn't there, is in the making, or its file system fails for the moment.
    UnusableMaster
        It can't be read.
    """
    return _open(path, [*_UNLOCKED, *_AS_HDF5_LOCKS])


def open_beside_dxtbx(path: str) -> h5py.File:
    """Do the same as dxtbx does in the same process, where it may read a file that is open here.

    HDF5 opens a file in one way only: where a virtual dataset leads to a file that is open in another way, HDF5 takes
    it for missing, and reads zeros. Whether it locks files belongs to the way.
    """
    return _open(path, [*reversed(_AS_HDF5_LOCKS), *reversed(_UNLOCKED)])


def is_swmr(file: h5py.File) -> bool:
    """Tell whether a file is open under SWMR: what its writer flushes is seen after a refresh."""
    import h5py

    return bool(file.id.get_intent() & h5py.h5f.ACC_SWMR_READ)


def _open(path: str, ways: Iterable[dict[str, bool]]) -> h5py.File:
    if (kind := unfit_kind(path)) is not None:  # HDF5 would wait for a pipe's other end
        raise UnusableMaster(f"{path} {kind}; expected an HDF5 file", path)
    with faults_at(path):
        if is_held_by_writer(path):
            raise HeldByWriter(path, "is held by a writer (it has locked the file)")
        file = _open_in_one_way(path, ways)
        if os.environ.get("HDF5_USE_FILE_LOCKING") not in _NO_LOCKS:  # else HDF5 may have locked it
            with suppress(OSError):  # a file system without locks
                fcntl.flock(file.id.get_vfd_handle(), fcntl.LOCK_UN)
        return file


def _open_in_one_way(path: str, ways: Iterable[dict[str, bool]]) -> h5py.File:
    """Open a file in the first way that does: as it's being written, and as others in this process have it open.

    Under SWMR a wrong checksum, as in a copy in the making, is read 100 times with pauses that double: that never ends.
    """
    import h5py

    way, *others = ways
    try:
        return h5py.File(path, "r", **way)
    except OSError as error:
        if others and (_OTHER_WAY.search(str(error)) or error.errno == errno.ENOLCK):
            return _open_in_one_way(path, others)
        raise


def seconds_since_written(path: str) -> float | None:
    """Return how long ago a file was written to, in seconds; None while it isn't seen."""
    version = file_version(path)
    return time.time() - version.modified_ns / 1e9 if version else None


def not_ready_or_unusable(error: Exception, path: str) -> NotReady | UnusableMaster:
    """Return what an error of HDF5 at a file means: that it has to be waited for, or that waiting won't help."""
    from tasks.step.retries import USUAL_RETRIES  # a program that looks for images should start quickly

    if isinstance(error, FileNotFoundError) or not os.path.exists(path):  # noqa: PTH110 - doesn't raise
        return FileAbsent(path)
    if USUAL_RETRIES.may_pass(error):
        return FileBusy(path, f"can't be read now ({_say(error)})")
    if not _DENIED.isdisjoint(_errnos(error)) or not may_become_hdf5(path):
        return UnusableMaster(f"{path} can't be read: {_say(error)}", path)
    return in_the_making(path, "can't be read", f" ({_say(error)})")


def in_the_making(path: str, lack: str, detail: str = "") -> NotReady | UnusableMaster:
    """Return what it means that a file lacks something: a file that was written lately may get it."""
    age_s = seconds_since_written(path)
    if age_s is None:
        return FileAbsent(path)
    if age_s < IN_THE_MAKING_S:
        return NotReady(path, f"{lack} yet{detail}")
    return UnusableMaster(f"{path} {lack}{detail}; nothing has been written to it for {_format_age(age_s)}", path)


@contextmanager
def faults_at(path: str) -> Iterator[None]:
    """Raise what errors of HDF5 mean at a file: `NotReady` or `UnusableMaster`."""
    try:
        yield
    except HDF5_ERRORS as error:
        raise not_ready_or_unusable(error, path) from error


def may_become_hdf5(path: str) -> bool:
    """Tell whether a file is HDF5, or is empty or zeros where it would say so, as before its beginning is copied."""
    try:
        with open_regular(path) as file:
            start = file.read(_LARGEST_USER_BLOCK + len(_SIGNATURE))
    except OSError:
        return True
    places = [0, *(2**power for power in range(9, _LARGEST_USER_BLOCK.bit_length()))]
    return any(start.startswith(_SIGNATURE, place) for place in places) or not any(start[:4096])


def _say(error: Exception) -> str:
    """Return what people need of an error: of HDF5's long texts about a file system's fault, the fault."""
    fault = _ERRNO.search(str(error))
    return fault[2] if fault and fault[2] else str(error) or type(error).__name__


def _errnos(error: BaseException) -> Iterator[int]:
    for each in causes_of(error):
        if isinstance(each, OSError) and each.errno is not None:
            yield each.errno
        yield from (int(number) for number, _ in _ERRNO.findall(str(each)))


def _format_age(age_s: float) -> str:
    """Say how long ago something was, roughly.

    >>> _format_age(660), _format_age(7300), _format_age(200_000)
    ('11 minutes', '2 hours', '2 days')
    """
    for unit_s, unit in ((86400, "days"), (3600, "hours")):
        if age_s >= 2 * unit_s:
            return f"{age_s / unit_s:.0f} {unit}"
    return f"{age_s / 60:.0f} minutes"
