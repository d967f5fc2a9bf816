"""See what is in a folder now, on a network file system too.

Its client remembers for some time (NFS: 3 to 60 s) that a name was not there when it was asked for, and a file that
another machine writes meanwhile isn't seen. Opening the folder makes the client ask whether that has changed.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

SHORTEST_INTERVAL_S = 1.0
COST_RATIO = 10  # to open folders takes a tenth of the time at most, however slow the file system is
MOST_FOLDERS = 1000  # that are remembered


def open_folder_of(path: str) -> None:
    """Open the folder that a file should be in, and the ones above it, as far as they aren't seen themselves.

    It costs the same for a folder of many thousands of files: only the first entries are read.
    """
    unseen = []
    for folder in Path(path).parents:
        if _open(folder):
            break
        unseen.append(folder)
    # They may be there by what has been asked now; then what is in them has to be asked for too
    for folder in reversed(unseen):
        if not _open(folder):
            return


def _open(folder: Path) -> bool:
    with suppress(OSError, ValueError), os.scandir(folder) as entries:  # ValueError: a null character in the name
        next(entries, None)
        return True
    return False


def is_there(path: str) -> bool:
    """Tell whether something is there, if need be by opening its folder."""
    if _exists(path):
        return True
    open_folder_of(path)
    return _exists(path)


def _exists(path: str) -> bool:
    with suppress(OSError, ValueError):
        return Path(path).exists()
    return False


class FreshFolders:
    """Opens the folders of files that are waited for, each now and then."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}

    def ask_again(self, path: str) -> bool:
        """Open the folder of a file that isn't seen, unless that was done just now; tell whether it was opened."""
        folder, started = path.rpartition("/")[0], time.monotonic()
        if started < self._next.get(folder, 0.0):
            return False
        open_folder_of(path)
        if len(self._next) >= MOST_FOLDERS:
            self._next.clear()
        ended = time.monotonic()
        self._next[folder] = ended + max(SHORTEST_INTERVAL_S, COST_RATIO * (ended - started))
        return True
