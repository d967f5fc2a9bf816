"""Messages that no step could use: kept, with all that is known, until somebody deals with them.

A file each, in one folder for the whole site, so that they outlive their recipe run and its process.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from blocks.errors import UnknownDeadLetter
from blocks.settings import get_settings
from flows.recipe.journal import decode, encode
from tasks.atomic_file import write_atomically


@dataclass(frozen=True)
class DeadLetter:
    """A message that was given up.

    Parameters
    ----------
    number
        Which message of its recipe run.
    node, step, queue
        Who gave it up.
    error, traceback
        The last fault: `Type: text`, and where in the code it came from.
    history
        All failures: `at` (seconds since the epoch) and `error` each.
    at, host
        When and where it was given up.
    """

    recipe_run: str
    number: int
    recipe: str
    dcid: int | None
    node: int
    step: str
    queue: str
    payload: Any
    environment: Mapping[str, Any]
    error: str
    traceback: str
    history: tuple[Mapping[str, Any], ...]
    at: float
    host: str = field(default_factory=socket.gethostname)

    @property
    def name(self) -> str:
        """What it's called on the command line, and its file."""
        return f"{self.recipe_run}-{self.number}"


class DeadLetters:
    """The dead letters of a site.

    Parameters
    ----------
    folder
        `dead-letters` in the home folder, if not said otherwise.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or get_settings().home / "dead-letters"

    def put(self, letter: DeadLetter) -> None:
        """Keep a letter; the same one again replaces itself."""
        write_atomically(self._file(letter.name), encode(asdict(letter)))

    def all(self, recipe_run: str = "") -> Iterator[DeadLetter]:
        """Yield the letters, or those of one recipe run, oldest first within a run."""
        files = self.folder.glob(f"{recipe_run}-*.json" if recipe_run else "*.json")
        for file in sorted(files, key=lambda file: (file.stem.rpartition("-")[0], int(file.stem.rpartition("-")[2]))):
            try:
                yield read_letter(file)
            except FileNotFoundError:  # somebody else has just dealt with it
                continue

    def get(self, name: str) -> DeadLetter:
        """Return the one letter whose name is, or starts with, this one.

        Raises
        ------
        UnknownDeadLetter
            There is none, or more than one.
        """
        exact = self._file(name)
        found = (
            [exact] if exact.is_file() else [file for file in self.folder.glob("*.json") if file.stem.startswith(name)]
        )
        if len(found) != 1:
            seen = ", ".join(file.stem for file in found[:5]) or "none"
            raise UnknownDeadLetter(f"expected one dead letter of the name {name!r} in {self.folder}, found {seen}")
        return read_letter(found[0])

    def remove(self, letter: DeadLetter) -> None:
        """Remove a letter that has been dealt with."""
        self._file(letter.name).unlink(missing_ok=True)

    def _starting_with(self, name: str) -> list[Path]:
        return [file for file in self.folder.glob("*.json") if file.stem.startswith(name)]

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.json"


def read_letter(file: Path) -> DeadLetter:
    """Read a letter's file."""
    letter = decode(file.read_bytes())
    return DeadLetter(**{**letter, "history": tuple(letter["history"])})
