"""Where a recipe run keeps what it knows, so that it can be shown, followed and resumed: a folder of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from blocks.errors import UnknownRecipeRun
from blocks.home_folder import RECIPE_RUNS
from blocks.settings import get_settings

_LONGEST_NAME = 255 // 4  # what a file system takes, whatever the characters; ids have 36
_ID = re.compile(r"[\w-]+")  # ids are looked for by a pattern, in which * and ? would mean others


@dataclass(frozen=True)
class RunFolder:
    """The files of one recipe run.

    Parameters
    ----------
    path
        Its folder; the folder's name is the recipe run's id.
    """

    path: Path

    @property
    def recipe_run(self) -> str:
        """Zocalo's recipe ID (guid), which is the id of the Prefect flow run too."""
        return self.path.name

    @property
    def manifest(self) -> Path:
        """What the run was given, what it read, and the filled-in recipe (JSON). A run of Plaza 0.1 keeps its name."""
        old = self.path / "logbook.json"
        return old if old.exists() else self.path / "manifest.json"

    @property
    def journal(self) -> Path:
        """Every message that was sent, and what became of it (JSON lines, in order)."""
        return self.path / "journal.jsonl"

    @property
    def log(self) -> Path:
        """The log lines of the run's steps, from all its processes (JSON lines)."""
        return self.path / "log.jsonl"

    @property
    def reinjected(self) -> Path:
        """Messages that wait to be handled once more (a folder; JSON files)."""
        return self.path / "reinjected"

    @property
    def has_reinjected(self) -> bool:
        """Messages wait to be handled once more."""
        return any(self.reinjected.glob("*.json"))


def run_folder(recipe_run: str, home: Path | None = None) -> RunFolder:
    """Return the folder of a recipe run, whether there is one or not."""
    return RunFolder((home or get_settings().home) / RECIPE_RUNS / recipe_run)


def find_run(name: str, home: Path | None = None) -> RunFolder:
    """Return the folder of the one recipe run whose id is, or starts with, a name.

    Raises
    ------
    UnknownRecipeRun
        There is none, or more than one.
    """
    runs = (home or get_settings().home) / RECIPE_RUNS
    found: list[Path] = []
    if _ID.fullmatch(name) and len(name) <= _LONGEST_NAME:  # anything else may be a pattern, or no name to the system
        found = [runs / name] if (runs / name).is_dir() else sorted(runs.glob(f"{name}*"))
    if not found:
        raise UnknownRecipeRun(f"no recipe run {name!r:.200} in {runs}: expected its id, or the start of it")
    if len(found) > 1:
        names = ", ".join(path.name for path in found[:5])
        raise UnknownRecipeRun(f"{len(found)} recipe runs start with {name!r}: {names}; say more of the id")
    return RunFolder(found[0])
