"""The dead letters of a site: kept until somebody deals with them.

A file each, in one folder for the whole site, so that they outlive their recipe run and its process.
"""

from __future__ import annotations

import fcntl
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import structs

from blocks.errors import DamagedDeadLetter, UnknownDeadLetter
from blocks.home_folder import make_folder
from blocks.settings import get_settings
from flows.recipe.run_record.dead_letters.dead_letter import DeadLetter, read_dead_letter
from flows.recipe.run_record.folder import RunFolder
from flows.recipe.run_record.recipe_ids import runs_called

logger = logging.getLogger(__name__)


def _warn(error: DamagedDeadLetter) -> None:
    logger.warning("%s", error)


class DeadLetters:
    """The dead letters of a site.

    Parameters
    ----------
    folder
        `dead-letters` in the home folder, if not said otherwise.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or get_settings().home / "dead-letters"

    def put(self, dead_letter: DeadLetter) -> None:
        """Keep a dead letter; the same one again replaces itself."""
        dead_letter.write(self._file(dead_letter.name))

    def note_others(self, name: str, others: int) -> None:
        """Note how many more messages a dead letter stands for, unless somebody has dealt with it."""
        with self.held(), suppress(FileNotFoundError, DamagedDeadLetter):
            self.put(structs.replace(read_dead_letter(self._file(name)), others=others))

    def all(
        self, recipe_run: str | None = None, on_damage: Callable[[DamagedDeadLetter], None] = _warn
    ) -> Iterator[DeadLetter]:
        """Yield the dead letters, or those of one recipe run, oldest first within a run.

        Parameters
        ----------
        on_damage
            Told of each file that holds no dead letter; the others are yielded all the same.
        """
        for file in sorted(self.folder.glob("*.json"), key=_order):
            if recipe_run not in (None, _order(file)[0]):
                continue
            with suppress(FileNotFoundError):  # somebody else has just dealt with it
                try:
                    dead_letter = read_dead_letter(file)
                    if dead_letter.name != file.stem:  # dealt with by its name, another file would go
                        raise DamagedDeadLetter(f"{file} holds the dead letter {dead_letter.name}: name it as that")
                except DamagedDeadLetter as error:
                    on_damage(error)
                else:
                    yield dead_letter

    def get(self, name: str) -> DeadLetter:
        """Return the one dead letter of a name (see `find`).

        Raises
        ------
        UnknownDeadLetter
            There is none, or more than one.
        DamagedDeadLetter
            Its file holds none.
        """
        file = self.find(name)
        try:
            return read_dead_letter(file)
        except FileNotFoundError as error:
            raise _dealt_with(file) from error

    def find(self, name: str) -> Path:
        """Return the file of the one dead letter whose name is, or starts with, this one.

        The start of a recipe run's id, or of its recipe ID, and a dead letter's whole number, as in `3f2a0b1c-12`, are
        a name too.

        Raises
        ------
        UnknownDeadLetter
            There is none, or more than one.
        """
        files = list(self.folder.glob("*.json"))
        exact = [file for file in files if file.stem == name]
        run, _, number = name.rpartition("-")
        found = exact or [
            file
            for file in files
            if file.stem.startswith(name)
            or (run and file.stem.startswith(run) and file.stem.rpartition("-")[2] == number)
        ]
        if not found and run:
            called = {f"{recipe_run}-{number}" for recipe_run in runs_called(run)[0]}
            found = [file for file in files if file.stem in called]
        if len(found) != 1 or not name:
            seen = ", ".join(sorted(file.stem for file in found)[:5]) or "none"
            raise UnknownDeadLetter(f"expected one dead letter of the name {name!r} in {self.folder}, found {seen}")
        return found[0]

    def remove(self, dead_letter: DeadLetter) -> None:
        """Remove a dead letter that has been dealt with."""
        self._file(dead_letter.name).unlink(missing_ok=True)

    def change(self, old: DeadLetter, new: DeadLetter) -> None:
        """Put a dead letter in the place of another of its name.

        Raises
        ------
        UnknownDeadLetter
            The old one isn't there any more, or has been changed meanwhile.
        """
        with self.held():
            if self.get(old.name) != old:
                raise UnknownDeadLetter(f"dead letter {old.name} has been changed by somebody else meanwhile")
            self.put(new)

    def reinject(self, dead_letter: DeadLetter, folder: RunFolder) -> None:
        """Hand a dead letter, as it now is, to its recipe run, which takes it when it's next taken up.

        Killed in between, it stands in both places under one number, and is taken once.
        """
        with suppress(FileNotFoundError):
            dead_letter = read_dead_letter(self._file(dead_letter.name))
        dead_letter.noting("re-injected").write(_reinjected(dead_letter, folder))
        self.remove(dead_letter)

    def take_back(self, dead_letter: DeadLetter, folder: RunFolder) -> None:
        """Keep a dead letter once more which its recipe run can't be given, unless it has taken it meanwhile."""
        with suppress(FileNotFoundError):
            _reinjected(dead_letter, folder).replace(self._file(dead_letter.name))

    def purge(self, file: Path) -> Path:
        """Move a dead letter's file out of the way and return where it is kept: in a folder of this day.

        Raises
        ------
        UnknownDeadLetter
            The dead letter isn't there any more.
        """
        kept = self.folder / "purged" / time.strftime("%Y-%m-%d") / file.name
        make_folder(kept.parent)
        try:
            return file.replace(kept)
        except FileNotFoundError as error:
            raise _dealt_with(file) from error

    def file_of(self, dead_letter: DeadLetter) -> Path:
        """Return the file of a dead letter."""
        return self._file(dead_letter.name)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep others that deal with dead letters waiting."""
        make_folder(self.folder)
        with (self.folder / ".lock").open("a") as lock:  # not their own files, which are replaced, locks and all
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.json"


def read_reinjected(folder: RunFolder) -> dict[Path, DeadLetter]:
    """Read the dead letters that were handed to a run; files that hold none are put aside, as `….damaged`."""
    dead_letters = {}
    for file in sorted(folder.reinjected.glob("*.json"), key=_order):
        try:
            dead_letters[file] = read_dead_letter(file)
        except DamagedDeadLetter as error:
            aside = file.replace(file.with_suffix(".json.damaged"))
            logger.error("can't be re-injected, so it's kept as %s: %s", aside.name, error)
    return dead_letters


def _reinjected(dead_letter: DeadLetter, folder: RunFolder) -> Path:
    return folder.reinjected / f"{dead_letter.number}.json"


def _order(file: Path) -> tuple[str, int]:
    run, _, number = file.stem.rpartition("-")
    return run, int(number) if number.isdecimal() else 0


def _dealt_with(file: Path) -> UnknownDeadLetter:
    return UnknownDeadLetter(f"dead letter {file.stem} isn't there any more: somebody else has dealt with it")
