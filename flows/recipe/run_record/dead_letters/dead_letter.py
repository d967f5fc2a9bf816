"""A dead letter: a message that no step could use, with all that is known of it, as it's kept in a file."""

from __future__ import annotations

import getpass
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from blocks.errors import DamagedDeadLetter
from blocks.identifiers import Dcid
from flows.recipe.run_record.entries import HistoryEntry
from flows.recipe.run_record.lenient_json import decode, encode
from tasks.step.atomic_file import write_atomically


class DeadLetter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message that was refused.

    Parameters
    ----------
    number
        Which message of its recipe run.
    node, step, queue
        Who refused it.
    error, traceback
        The last fault: `Type: text`, and where in the code it came from.
    history
        Its failures, the last one included, and what operators did about it.
    at, host
        When it was refused (seconds since the epoch), and on which machine.
    others
        How many messages more it stands for, as its node can't use any: they wait in their run, and come again when
        it does. 0 while that isn't known; None: it stands for itself alone.
    """

    recipe_run: str
    number: int
    recipe: str
    dcid: Dcid | None
    node: int
    step: str
    queue: str
    payload: Any
    environment: Mapping[str, Any]
    error: str
    traceback: str
    history: Sequence[HistoryEntry]
    at: float
    host: str = msgspec.field(default_factory=socket.gethostname)
    others: int | None = None

    @property
    def name(self) -> str:
        """What it's called on the command line, and its file."""
        return f"{self.recipe_run}-{self.number}"

    @property
    def stands_for(self) -> str:
        """What else waits with it, in words; empty if it stands for itself alone."""
        if self.others is None:
            return ""
        return f"{self.others} more messages of its node wait with it" if self.others else "its node can't use any"

    def noting(self, action: str) -> DeadLetter:
        """Return the dead letter with what the user of this process did about it in its history."""
        entry = HistoryEntry(time.time(), done=action, by=getpass.getuser())
        return msgspec.structs.replace(self, history=[*self.history, entry])

    def write(self, file: Path) -> None:
        """Write it to a file, in place of what is there."""
        write_atomically(file, encode(self) + b"\n")


def read_dead_letter(file: Path) -> DeadLetter:
    """Read a dead letter's file.

    Raises
    ------
    DamagedDeadLetter
        It doesn't hold a dead letter.
    FileNotFoundError
        There's no such file.
    """
    try:
        return decode(file.read_bytes(), DeadLetter, is_strict=False)
    except (ValueError, RecursionError) as error:
        raise DamagedDeadLetter(f"{file} doesn't hold a dead letter: {error}; mend it or remove it") from error
