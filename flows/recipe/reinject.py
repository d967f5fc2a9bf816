"""Hand dead letters back to their recipe runs, and have these taken up again."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from blocks.errors import PlazaError, RecipeError, UnknownRecipeRun
from flows.recipe.run_record.dead_letters.dead_letter import DeadLetter
from flows.recipe.run_record.dead_letters.store import DeadLetters
from flows.recipe.run_record.folder import RunFolder, run_folder
from flows.recipe.run_record.manifest import read_manifest


@dataclass(frozen=True)
class Reinjection:
    """What became of the dead letters of one recipe run: what happens now, or why they stay."""

    dead_letters: Sequence[DeadLetter]
    message: str = ""
    error: PlazaError | None = None


def reinject(dead_letters: DeadLetters, chosen: Iterable[DeadLetter]) -> Iterator[Reinjection]:
    """Re-inject dead letters, recipe run by recipe run.

    They are with their run before they are gone from the dead letters; they come back if it can't be taken up. A run
    that can't take its own stops no other.

    Yields
    ------
    Reinjection
        What became of the dead letters of each run: its `error` is to be shown, nothing is raised.
    """
    by_run = sorted(chosen, key=lambda dead_letter: dead_letter.recipe_run)
    for run, group in itertools.groupby(by_run, key=lambda dead_letter: dead_letter.recipe_run):
        yield _reinject_run(dead_letters, run_folder(run), list(group))


def _reinject_run(dead_letters: DeadLetters, folder: RunFolder, chosen: Sequence[DeadLetter]) -> Reinjection:
    from flows.recipe.resume import schedule_again

    try:
        _check(folder, chosen)
        with dead_letters.held():
            for dead_letter in chosen:
                dead_letters.reinject(dead_letter, folder)
    except PlazaError as error:
        return Reinjection(chosen, error=error)
    try:
        return Reinjection(chosen, message=asyncio.run(schedule_again(folder)))
    except PlazaError as error:  # nobody would take them out of the run's folder
        for dead_letter in chosen:
            dead_letters.take_back(dead_letter, folder)
        return Reinjection(chosen, error=error)


def _check(folder: RunFolder, chosen: Sequence[DeadLetter]) -> None:
    """Check that a run can take dead letters.

    Raises
    ------
    UnknownRecipeRun
        Its folder is gone.
    RecipeError
        Its recipe has no such node.
    """
    if not folder.manifest.exists() or not folder.journal.exists():
        raise UnknownRecipeRun(
            f"recipe run {folder.recipe_run} has no folder any more ({folder.path}), so it can't go on; "
            "the dead letter stays where it is"
        )
    nodes = read_manifest(folder).filled_recipe().nodes
    for dead_letter in chosen:
        if dead_letter.node not in nodes:
            known = ", ".join(map(str, sorted(nodes)))
            raise RecipeError(
                f"dead letter {dead_letter.name} is of node {dead_letter.node}; recipe {dead_letter.recipe} has {known}"
            )
