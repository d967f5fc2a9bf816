"""A recipe run's journal: a line of JSON for each thing that happened to its messages, kept before it takes effect.

A line is written whole or not at all (a torn last line doesn't count), so that what stands in one line happened
together: the messages that were sent, and those that are done with them. A line outlives the process that wrote it,
however that ends; it outlives the machine as soon as the file system has stored it, some seconds later.

Its entries are those of `flows.recipe.run_record.entries`.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from blocks.errors import RecipeRunBusy
from flows.recipe.run_record.entries import Entry, decode_entry
from flows.recipe.run_record.lenient_json import ENCODER, encode

logger = logging.getLogger(__name__)

_encode: Final = ENCODER.encode  # called for each message: what is between would cost a tenth of it

_CLOSED: Final = -1  # whoever still writes, such as a thread that outlives a cancelled run, shall not hit another file


class Journal:
    """The journal of a run that this process carries out; only one process can have it open.

    Parameters
    ----------
    path
        The file; made if need be.

    Raises
    ------
    RecipeRunBusy
        Another process has it open.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # CLOEXEC: programs that steps start would keep the lock
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o664)
        try:  # not lockf, whose lock is gone as soon as this process closes the file elsewhere, where it reads it
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._file)
            raise RecipeRunBusy(f"recipe run {path.parent.name} is at work in another process") from error
        os.ftruncate(self._file, _end_of_last_line(path))
        self._lines: list[bytes] = []
        self._waiting = bytearray()  # whole lines, and what is left of one that a full disk took the start of
        self._is_failing = False

    def record(self, entry: Entry) -> None:
        """Add an entry, which counts from the next `flush` on."""
        try:
            self._lines.append(_encode(entry))
        except UnicodeEncodeError:
            self._lines.append(encode(entry))

    def flush(self) -> None:
        """Write what was added. If that can't be, it's kept in memory and tried again next time: the work goes on."""
        try:
            self.write_out()
        except OSError as error:
            if not self._is_failing:
                logger.error(
                    "%s can't be written, so a crash now would lose what was done since: %s", self._path, error
                )
            self._is_failing = True
        else:
            if self._is_failing:
                logger.info("%s is written again", self._path)
            self._is_failing = False

    def write_out(self) -> None:
        """Write what was added, before the run says that it has ended.

        Raises
        ------
        OSError
            It can't be written, and is kept in memory.
        """
        if self._lines:
            self._waiting += b"\n".join([*self._lines, b""])
            self._lines.clear()
        if self._waiting:
            self._write()

    def _write(self) -> None:
        while self._waiting:
            del self._waiting[: os.write(self._file, self._waiting)]

    def close(self) -> None:
        """Write what is left and let others have the run."""
        self.flush()
        os.close(self._file)
        self._file = _CLOSED

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def read_journal(path: Path, on_damage: Callable[[str], None] = logger.error) -> Iterator[Entry]:
    """Yield a journal's entries, in order; none if there is no journal.

    A line that a failing disk or machine has spoilt is left out, with what it says: what's missing is done again.

    Parameters
    ----------
    on_damage
        Told of each such line, in words.
    """
    try:
        lines = path.open("rb")
    except FileNotFoundError:
        return
    with lines:
        for number, line in enumerate(lines, 1):
            if line.endswith(b"\n"):
                try:
                    yield decode_entry(line)
                except (ValueError, RecursionError) as error:
                    on_damage(f"line {number} of {path} can't be read and is left out: {error}")


def _end_of_last_line(path: Path) -> int:
    """Return where a torn last line begins; the file's size if there is none."""
    end = 0
    with path.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                end += len(line)
    return end
