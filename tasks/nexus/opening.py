"""Open HDF5 files without locks, and tell a file in the making from one that will never do."""

from __future__ import annotations

import errno
import fcntl
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.nexus.errors import FileAbsent, NotReady, UnusableMaster

if TYPE_CHECKING:
    import h5py

# What HDF5 says of files that are being created, copied or opened by their writer.
_PASSING = re.compile(
    "address of object past end of allocation"
    "|truncated file: eof ="
    "|file is not already open for SWMR writing"
    "|file is already open for write"
    "|bad object header version number"
    "|SWMR read access flag not the same"
    # A copy that has its full length from the start holds zeros where it will hold these
    "|(bad|wrong) [a-zA-Z -]*(signature|version)"
    "|incorrect metadata checksum"
    "|ring type mismatch"
    "|len not positive after adjustment for EOA"
)
_OTHER_WAY = re.compile("file is already open for write|SWMR read access flag not the same")
_START_BYTES = 4096  # HDF5's signature is at byte 0, or at 512, 1024, … behind a user block


def open_file(path: str) -> h5py.File:
    """Open a file for reading, also while its writer writes it under SWMR, and without keeping a lock.

    A reader's lock would keep a detector from opening its own file again, and where no lock daemon runs there is none.

    Raises
    ------
    NotReady
        It isn't there, or is in the making.
    UnusableMaster
        It can't be read.
    """
    return _open(path, [{}, {"swmr": True}])


def open_beside_dxtbx(path: str) -> h5py.File:
    """Do the same as dxtbx does in the same process, where it may read a file that is open here.

    HDF5 opens a file in one way only: where a virtual dataset leads to a file that is open in another way, HDF5 takes
    it for missing, and reads zeros.
    """
    return _open(path, [{"swmr": True}, {}])


def is_swmr(file: h5py.File) -> bool:
    """Tell whether a file is open under SWMR: what its writer flushes is seen after a refresh."""
    import h5py

    return bool(file.id.get_intent() & h5py.h5f.ACC_SWMR_READ)


def _open(path: str, ways: list[dict[str, bool]]) -> h5py.File:
    try:
        _check_unlocked(path)
        file = _open_in_one_way(path, ways)
        # HDF5 has locked it: it does so unless HDF5_USE_FILE_LOCKING says otherwise when it's loaded.
        with suppress(OSError):  # a file system without locks
            fcntl.flock(file.id.get_vfd_handle(), fcntl.LOCK_UN)
        return file
    except (OSError, RuntimeError, KeyError) as error:
        raise not_ready_or_unusable(error, path) from error


def _open_in_one_way(path: str, ways: list[dict[str, bool]]) -> h5py.File:
    """Open a file under SWMR if it's being written so, else without, if nobody in this process has it open otherwise.

    Under SWMR a wrong checksum, as in a copy in the making, is read 100 times with pauses that double: that never ends.
    """
    import h5py

    way, *others = ways
    try:
        return h5py.File(path, "r", **way)
    except OSError as error:
        # No lock daemon runs for that file system: h5py's `locking` leaves the lock out, for this file only.
        if error.errno == errno.ENOLCK:
            return _open_in_one_way(path, [each | {"locking": False} for each in ways])
        if others and _OTHER_WAY.search(str(error)):
            return _open_in_one_way(path, others)
        raise


def file_version(path: str) -> tuple[int, ...]:
    """Return what changes when a file is replaced or written; empty while it isn't seen."""
    with suppress(OSError):
        status = os.stat(path)  # noqa: PTH116 - once an image
        return status.st_ino, status.st_mtime_ns, status.st_size
    return ()


def not_ready_or_unusable(error: Exception, path: str) -> NotReady | UnusableMaster:
    """Return what an error of HDF5 at a file means: that it has to be waited for, or that waiting won't help."""
    if isinstance(error, FileNotFoundError) or not os.path.exists(path):  # noqa: PTH110 - doesn't raise
        return FileAbsent(path)
    if _PASSING.search(str(error)) or _is_blank(Path(path)) or _may_pass(error):
        return NotReady(path, f"can't be read yet ({error})")
    return UnusableMaster(f"{path} can't be read: {error}", path)


def _may_pass(error: Exception) -> bool:
    # Only when it's needed: a program that looks for images should start quickly.
    from tasks.step.retries import USUAL_RETRIES

    return USUAL_RETRIES.may_pass(error)


def _is_blank(file: Path) -> bool:
    """Tell whether a file is empty or starts with nothing but zeros: a copy whose space was allocated beforehand."""
    try:
        with file.open("rb") as opened:
            return not any(opened.read(_START_BYTES))
    except OSError:
        return False


def _check_unlocked(path: str) -> None:
    """Raise NotReady if a writer that doesn't use SWMR has the file open: it locks the file till it's done."""
    with Path(path).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotReady(path, "can't be read yet (its writer has locked it)") from None
        except OSError:
            return  # a file system without locks
