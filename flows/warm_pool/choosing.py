"""Which of the runs that wait start next. Pure: who waits and who is under way goes in, who starts comes out.

Runs are of two kinds. A run of Mimas decides what is to be done for a data collection: it takes a second of computing,
and a beamline waits for it. A recipe run begins with a second of computing, and then mostly waits, for images or for
the analysis cluster. So what is limited is how many there are at all (each takes memory) and how many of them are
*busy* at once (each takes a core), and turns go round the beamlines, whoever has sent how many events.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

SHARE: Final = 3
"""A beamline may hold so many times the places that are free: alone three quarters of all.

The last place is never its second one, also where three quarters would be all. As switches share their buffers among
ports ("dynamic thresholds", Choudhury and Hahne 1998).
"""


@dataclass(frozen=True)
class Limits:
    """How many runs may be under way at once.

    Parameters
    ----------
    runs
        All together.
    kept_for_decisions
        Those of them that recipe runs leave free.
    busy_decisions
        Runs of Mimas that compute. A beamline that has none may begin one beyond, up to twice as many and two.
    busy_recipes
        Recipe runs that compute at their beginning; one while runs of Mimas wait.
    """

    runs: int
    kept_for_decisions: int
    busy_decisions: int
    busy_recipes: int

    @classmethod
    def of(cls, runs: int, cores: int) -> Limits:
        """Return the limits for so many runs, two at least, on a machine with so many cores.

        Whoever computes also asks Prefect's server, a single process, for every second thing: a core is left to that,
        and on large machines it's what there is too little of.
        """
        runs = max(2, runs)
        return cls(
            runs,
            kept_for_decisions=max(1, runs // 8),
            busy_decisions=min(max(1, cores - 1), 3),
            busy_recipes=min(2 * cores, 6),
        )


@dataclass(frozen=True)
class Line:
    """Whose turn a run waits for: a beamline ("": nobody knows which) and whether it's a run of Mimas."""

    beamline: str
    decides: bool


@dataclass(frozen=True)
class Candidate:
    """A run that waits."""

    run: UUID
    line: Line


@dataclass(frozen=True)
class UnderWay:
    """A run that has begun and not ended."""

    line: Line
    is_busy: bool


def choose(
    waiting: Iterable[Candidate], under_way: Sequence[UnderWay], limits: Limits, served: Mapping[Line, int]
) -> list[Candidate]:
    """Say which runs start now, and in which order.

    Parameters
    ----------
    waiting
        The first of each line first.
    under_way
        What runs.
    limits
        How many may.
    served
        When each line was served last: a greater number is later.

    Returns
    -------
    list[Candidate]
        Runs of Mimas first; of each kind in turns of the lines, those that have waited longest for a turn first.
    """
    lines: dict[Line, deque[Candidate]] = {}
    for candidate in waiting:
        lines.setdefault(candidate.line, deque()).append(candidate)
    places = _Places(under_way, limits, sum(len(line) for key, line in lines.items() if key.decides))
    turns = dict(served)
    chosen = []
    for decides in (True, False):
        while open_lines := [line for line in lines if line.decides == decides and lines[line] and places.has(line)]:
            line = min(open_lines, key=lambda line: turns.get(line, -1))  # of equal ones the first in `waiting`
            places.take(line)
            turns[line] = max(turns.values(), default=0) + 1
            chosen.append(lines[line].popleft())
    return chosen


class _Places:
    """What is left of the limits."""

    def __init__(self, under_way: Sequence[UnderWay], limits: Limits, decisions_wait: int) -> None:
        self._limits = limits
        self._held = Counter(run.line for run in under_way)
        self._busy = Counter(run.line for run in under_way if run.is_busy)
        self._decisions_wait = decisions_wait

    def has(self, line: Line) -> bool:
        """Tell whether a line's next run may start."""
        held, free = self._held[line], self._free(line.decides)
        is_fair = held < SHARE * free and (free > 1 or not held)
        return is_fair and (self._may_decide(line) if line.decides else self._may_begin())

    def take(self, line: Line) -> None:
        """Give a place to a line's next run, which is busy at first."""
        self._held[line] += 1
        self._busy[line] += 1
        if line.decides:
            self._decisions_wait -= 1

    def _free(self, decides: bool) -> int:
        free = self._limits.runs - self._held.total()
        if decides:
            return free
        recipes = sum(count for line, count in self._held.items() if not line.decides)
        return min(free, self._limits.runs - self._limits.kept_for_decisions - recipes)

    def _may_decide(self, line: Line) -> bool:
        busy = self._count_busy(decides=True)
        if self._busy[line]:
            return busy < self._limits.busy_decisions
        return busy < 2 * self._limits.busy_decisions + 2

    def _may_begin(self) -> bool:
        return self._count_busy(decides=False) < (1 if self._decisions_wait else self._limits.busy_recipes)

    def _count_busy(self, *, decides: bool) -> int:
        return sum(count for line, count in self._busy.items() if line.decides == decides)
