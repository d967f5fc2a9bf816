"""Where a recipe run keeps what it knows, so that it can be shown, followed and resumed: a folder of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from blocks.errors import UnknownRecipeRun
from blocks.home_folder import RECIPE_RUNS
from blocks.settings import get_settings
from flows.recipe.run_record.recipe_ids import runs_called

MOST_NAMED = 5  # of several runs that a name may mean
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
        """Its id: that of the Prefect flow run, and Zocalo's recipe ID unless its message brought another."""
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
    def children(self) -> Path:
        """The runs that its steps have started (JSON lines)."""
        return self.path / "children.jsonl"

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


def find_run(name: str, home: Path | None = None, kinds: Sequence[str] = (RECIPE_RUNS,)) -> RunFolder:
    """Return the folder of the one run that a name means, as `runs_named` takes it.

    Raises
    ------
    UnknownRecipeRun
        There is none, or more than one.
    """
    home = home or get_settings().home
    found = runs_named(name, home, kinds)
    if not found:
        raise UnknownRecipeRun(
            f"no recipe run {name!r:.200} in {', '.join(str(home / kind) for kind in kinds)}: expected its id or its "
            "recipe ID (guid), or the start of one"
        )
    if len(found) > 1:
        names = ", ".join(path.name for path in found[:MOST_NAMED])
        more = ", …" * (len(found) > MOST_NAMED)
        raise UnknownRecipeRun(f"{len(found)} recipe runs are called {name!r:.200} or so, {names}{more}: say which")
    return RunFolder(found[0])


def runs_named(name: str, home: Path | None = None, kinds: Sequence[str] = (RECIPE_RUNS,)) -> list[Path]:
    """Return the folders of the runs that a name means: a flow run's id, a recipe ID of a message, or the start of one.

    What is one whole counts before what only starts so.

    Parameters
    ----------
    kinds
        Folders in the home in which the records of runs are, by flow run.
    """
    runs = [(home or get_settings().home) / kind for kind in kinds]
    is_id = bool(_ID.fullmatch(name)) and len(name) <= _LONGEST_NAME  # others may be a pattern, or no name to a system
    if is_id and (whole := [folder / name for folder in runs if (folder / name).is_dir()]):
        return whole
    ids, is_whole = runs_called(name, home)
    called = [path for run in ids for folder in runs if (path := folder / run).is_dir()]
    if called and is_whole:
        return called
    started = [path for folder in runs for path in folder.glob(f"{name}*")] if is_id else []
    return sorted({*started, *called})
