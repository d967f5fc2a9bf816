"""The files that are to be archived: what is seen of them, and how many go into one drop file."""

import itertools
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from blocks.errors import MessageRefused
from tasks.archiver.icat_drop_file import DataFile
from tasks.file_pattern import FilePattern
from tasks.fresh_folders import FreshFolders
from tasks.regular_files import require_regular
from tasks.whole_number import LARGEST

MOST_FILES = 1_000_000  # of a data collection: each is looked at


@dataclass(frozen=True, slots=True)
class FileStatus:
    """What was seen of a file: its size and time, or why there's nothing to archive."""

    path: str
    file: DataFile | None = None
    error: Exception | None = None

    @property
    def is_missing(self) -> bool:
        """The file isn't there, as opposed to: it can't be archived."""
        return isinstance(self.error, FileNotFoundError)


def expand_pattern(pattern: str, start: int, end: int) -> list[str]:
    """Return the file names of a printf pattern, both ends included.

    Raises
    ------
    MessageRefused
        The pattern hasn't exactly one field for a number, or stands for more files than any collection has.
    """
    if end - start >= MOST_FILES or max(abs(start), abs(end)) > LARGEST:
        raise MessageRefused(
            f"expected at most {MOST_FILES:,} files of a pattern; seen numbers from {_said(start)} to {_said(end)}"
        )
    try:
        files = FilePattern.parse(pattern).settled()
        return [files.path(number) for number in range(start, end + 1)]
    except ValueError as error:
        raise MessageRefused(
            "expected a pattern with one field for the image number, such as x_%04d.cbf; "
            f"seen {pattern!r:.200}: {error}"
        ) from error


def _said(number: int) -> str:
    return str(number) if abs(number) <= LARGEST else "beyond 64 bits"


def file_statuses(paths: Iterable[str]) -> list[FileStatus]:
    """See what there is to archive of files."""
    folders = FreshFolders()
    return [_file_status(path, folders) for path in paths]


def _file_status(path: str, folders: FreshFolders) -> FileStatus:
    try:
        stat = _stat(path, folders)
        require_regular(path, stat)
        return FileStatus(path, DataFile(path, stat.st_size, stat.st_mtime))
    except (OSError, ValueError) as error:
        return FileStatus(path, error=error)


def _stat(path: str, folders: FreshFolders) -> os.stat_result:
    try:
        return Path(path).stat()
    except FileNotFoundError:
        folders.ask_again(path)
        return Path(path).stat()


def split_into_parts(statuses: Iterable[FileStatus], limit: int) -> list[list[FileStatus]]:
    """Begin a new part before each file that follows `limit` archivable ones; 0 is no limit.

    What is missing stays in the part where it was looked for. There's always one part.
    """
    parts: list[list[FileStatus]] = [[]]
    archivable = 0
    for status in statuses:
        if limit and archivable >= limit:
            parts.append([])
            archivable = 0
        parts[-1].append(status)
        archivable += status.file is not None
    return parts


def is_missing_within(statuses: Iterable[FileStatus]) -> bool:
    """Tell whether a file is there after one that is missing."""
    after_first = itertools.dropwhile(lambda status: not status.is_missing, statuses)
    return any(status.file is not None for status in after_first)
