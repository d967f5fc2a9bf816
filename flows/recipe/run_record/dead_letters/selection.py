"""Which dead letters are meant: by name, or by what they're about."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from blocks.errors import DamagedDeadLetter, UnknownDeadLetter
from blocks.identifiers import Dcid
from flows.recipe.run_record.dead_letters.dead_letter import DeadLetter
from flows.recipe.run_record.dead_letters.store import DeadLetters
from flows.recipe.run_record.recipe_ids import runs_called

UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
START: Final = 8  # characters of a recipe run's id that mostly do


@dataclass(frozen=True)
class DeadLetterSelection:
    """What chosen dead letters have in common; what is None is the same to all.

    Parameters
    ----------
    run
        The recipe run's id or its recipe ID, or the start of one.
    recipe
        The recipe's name.
    step
        The step's name, its queue, or its node's number.
    dcid
        The data collection.
    older_than_s
        The least age, in seconds.
    """

    run: str | None = None
    recipe: str | None = None
    step: str | None = None
    dcid: Dcid | None = None
    older_than_s: float | None = None

    def __contains__(self, dead_letter: DeadLetter) -> bool:
        return (
            (self.run is None or dead_letter.recipe_run.startswith(self.run) or dead_letter.recipe_run in self._runs)
            and self.recipe in (None, dead_letter.recipe)
            and self.step in (None, dead_letter.step, dead_letter.queue, str(dead_letter.node))
            and self.dcid in (None, dead_letter.dcid)
            and (self.older_than_s is None or time.time() - dead_letter.at > self.older_than_s)
        )

    @cached_property
    def _runs(self) -> frozenset[str]:
        return frozenset() if self.run is None else frozenset(runs_called(self.run)[0])

    def of(self, dead_letters: DeadLetters, on_damage: Callable[[DamagedDeadLetter], None]) -> list[DeadLetter]:
        """Return the dead letters that are meant, oldest first."""
        return sorted(
            (dead_letter for dead_letter in dead_letters.all(on_damage=on_damage) if dead_letter in self), key=_age
        )


def short_names(dead_letters: Sequence[DeadLetter]) -> dict[str, str]:
    """Give dead letters names that are shorter where that's enough for `DeadLetters.find`."""
    starts = Counter(run[:START] for run in {dead_letter.recipe_run for dead_letter in dead_letters})
    return {dead_letter.name: _short_name(dead_letter, starts) for dead_letter in dead_letters}


def read_age(text: str) -> float:
    """Return an age such as 30m, 12h, 30d or 2w in seconds.

    Raises
    ------
    UnknownDeadLetter
        It's none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip())
    if not match:
        raise UnknownDeadLetter(f"age {text!r}: expected a number and a unit, such as 30m, 12h, 30d or 2w")
    return float(match[1]) * UNITS_S[match[2]]


def age_text(seconds: float) -> str:
    """Return an age in its largest unit: 12 s, 5 min, 3 h, 2 d."""
    for name, unit in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= unit:
            return f"{int(seconds // unit)} {name}"
    return f"{max(int(seconds), 0)} s"


def _age(dead_letter: DeadLetter) -> tuple[float, str, int]:
    return dead_letter.at, dead_letter.recipe_run, dead_letter.number


def _short_name(dead_letter: DeadLetter, starts: Counter[str]) -> str:
    start = dead_letter.recipe_run[:START]
    short = f"{start}-{dead_letter.number}"
    return dead_letter.name if starts[start] > 1 or dead_letter.recipe_run.startswith(short) else short
