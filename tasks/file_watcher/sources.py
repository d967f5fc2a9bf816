"""What a watcher watches: items that appear in order. Here: files that a pattern or a list names."""

import asyncio
import stat
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Protocol

from tasks.file_pattern import FilePattern
from tasks.fresh_folders import FreshFolders

# A writer that creates a file and then fills it is given this long. An older empty file is passed on, as Zocalo
# does: its analysis fails, which costs one image; waiting for it would hold back all that follow.
EMPTY_FILE_GRACE_S = 1.0


class Source(Protocol):
    """A series of items. Numbers count from 1; `seen` is how many were seen already.

    Parameters
    ----------
    noun
        What the items are in payloads: files or images.
    nothing_named
        The recipe had nothing to name: Zocalo's list of a single null.
    expected
        How many items there will be; None while that isn't known.
    waiting_for
        What the last look found missing, for people.
    slowest_look_s
        The longest time that the file system took for an answer.
    """

    noun: str
    nothing_named: bool
    expected: int | None
    waiting_for: str | None
    slowest_look_s: float

    async def look(self, seen: int, limit: int) -> int:
        """Return how many further items are there, in order and without a gap, at most `limit`."""
        ...

    def is_barred(self, number: int) -> bool:
        """Tell whether an item can never come."""
        ...

    def item(self, number: int) -> dict[str, Any]:
        """Return the payload of an item, but for the time."""
        ...

    def missing(self, number: int) -> dict[str, Any]:
        """Return what the timeout and error outputs say of an item."""
        ...

    async def close(self) -> None:
        """Let go of files and processes."""
        ...


class _Files(ABC):
    noun = "files"
    nothing_named = False

    def __init__(self, count: int) -> None:
        self.expected: int | None = count
        self.waiting_for: str | None = None
        self.slowest_look_s = 0.0
        self._count = count
        self._folders = FreshFolders()

    @abstractmethod
    def path(self, number: int) -> str | None:
        """Return the path of a file; None or empty where there is no name for it."""

    @abstractmethod
    def item(self, number: int) -> dict[str, Any]:
        """Return the payload of a file, but for the time."""

    def missing(self, number: int) -> dict[str, Any]:
        """Return the payload of a file that isn't there: the same."""
        return self.item(number)

    def is_barred(self, number: int) -> bool:
        """Tell whether a file has no name."""
        return not self.path(number)

    async def look(self, seen: int, limit: int) -> int:
        """See `Source.look`. One call in a thread for all of them, since the file system may be slow."""
        return await asyncio.to_thread(self._count_written, seen, limit)

    async def close(self) -> None:
        """Do nothing: no file is held open."""
        return

    def _count_written(self, seen: int, limit: int) -> int:
        self.waiting_for = None
        last = min(seen + limit, self._count)
        for number in range(seen + 1, last + 1):
            path = self.path(number)
            if not path or not self._is_written(path):
                self.waiting_for = path
                return number - seen - 1
        return max(last - seen, 0)

    def _is_written(self, path: str) -> bool:
        started = time.perf_counter()
        written = is_written(path) or (self._folders.ask_again(path) and is_written(path))
        self.slowest_look_s = max(self.slowest_look_s, time.perf_counter() - started)
        return written


class NumberedFiles(_Files):
    """Files that a printf pattern names by consecutive numbers. A negative count never completes, as in Zocalo."""

    def __init__(self, pattern: FilePattern, first: int, count: int) -> None:
        super().__init__(count)
        self._pattern = pattern
        self._first = first

    def path(self, number: int) -> str:
        """Return the path of a file."""
        return self._pattern.path(self._first + number - 1)

    def _count_written(self, seen: int, limit: int) -> int:
        self._pattern = self._pattern.settled()
        return super()._count_written(seen, limit)

    def item(self, number: int) -> dict[str, Any]:
        """Return the payload of a file, but for the time."""
        return {"file": self.path(number), "file-number": number, "file-pattern-index": self._first + number - 1}


class ListedFiles(_Files):
    """Files named one by one. An empty entry, left by a placeholder that named nothing, ends the watch."""

    def __init__(self, paths: tuple[str | None, ...]) -> None:
        super().__init__(len(paths))
        self.nothing_named = paths == (None,)
        self._paths = paths

    def path(self, number: int) -> str | None:
        """Return the path of a file; None or empty where the entry is."""
        return self._paths[number - 1]

    def item(self, number: int) -> dict[str, Any]:
        """Return the payload of a file, but for the time."""
        return {"file": self.path(number), "file-list-index": number}


def is_written(path: str) -> bool:
    """Tell whether a file is there and not just created: an empty one counts once its writer let it lie.

    So does what isn't a file, such as a folder or a pipe: who is told of it refuses it, which costs one item.
    """
    try:
        status = Path(path).stat()
    except (OSError, ValueError):  # ValueError: a null character in the name
        return False
    is_filled = stat.S_ISREG(status.st_mode) and status.st_size > 0
    return is_filled or time.time() - status.st_mtime > EMPTY_FILE_GRACE_S
