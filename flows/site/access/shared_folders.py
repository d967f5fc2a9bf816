"""What members of the home folder's group read and write in it: it's theirs, too, when it was made before the group.

The home folder's setgid bit gives the group whatever is made later.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from blocks.home_folder import HELD_JOBS, MIMAS_RUNS, RECIPE_IDS, RECIPE_RUNS, TAKING_UP_LOCK

logger = logging.getLogger(__name__)

READ: Final = (RECIPE_RUNS, RECIPE_IDS, MIMAS_RUNS, HELD_JOBS, "dead-letters", "spot-differences", "logs")
WRITTEN: Final = ("events",)
"""Whoever can write there may tell Mimas of events, but no more than that."""


def share_folders(home: Path, gid: int) -> None:
    """Give the group what its members look at, where it's another group's still, and the drop folder of events.

    A folder is the group's after all that is in it, so what was interrupted is done again; what is done
    costs nothing.
    """
    lock = home / TAKING_UP_LOCK
    for folder in (*(home / name for name in WRITTEN), lock.parent):
        folder.mkdir(mode=0o770, exist_ok=True)
    lock.touch(exist_ok=True)
    for name in (*READ, *WRITTEN):
        folder = home / name
        if folder.is_dir() and not folder.is_symlink():
            _share(folder, gid, writable=name in WRITTEN)
    _open_to(lock, gid, stat.S_IRGRP)
    _open_to(lock.parent, gid, stat.S_IRGRP | stat.S_IXGRP | stat.S_ISGID)


def _share(folder: Path, gid: int, *, writable: bool) -> None:
    rights = stat.S_ISGID | (stat.S_IRWXG if writable else stat.S_IRGRP | stat.S_IXGRP)
    found = folder.stat()
    if found.st_gid == gid and found.st_mode & rights == rights:
        return
    # By descriptors: a link that is put in a folder's place meanwhile leads nowhere
    for path, _, files, descriptor in os.fwalk(folder, topdown=False, onerror=_tell):
        for name in files:
            with _faults_told():
                os.chown(name, -1, gid, dir_fd=descriptor, follow_symlinks=False)
        if Path(path) != folder:
            _add(descriptor, gid, stat.S_ISGID)  # the rest of their modes is their makers' business
    _open_to(folder, gid, rights)


def _open_to(path: Path, gid: int, rights: int) -> None:
    with _faults_told():
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            _add(descriptor, gid, rights)
        finally:
            os.close(descriptor)


def _add(descriptor: int, gid: int, rights: int) -> None:
    with _faults_told():
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        os.fchown(descriptor, -1, gid)  # before its mode: a change of the group takes the setgid bit
        os.fchmod(descriptor, mode | rights)


@contextmanager
def _faults_told() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:  # runs go on meanwhile
        return
    except OSError as error:
        _tell(error)


def _tell(error: OSError) -> None:
    logger.warning("PLAZA_GROUP: %s stays as it is: %s", error.filename, error.strerror)
