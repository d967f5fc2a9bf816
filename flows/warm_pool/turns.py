"""Which scheduled runs the worker takes, and when it looks for them: a flood neither fills the machine nor its queue.

Prefect's own worker takes what the API lists, in that order. This one looks seldom enough for the API to bear it,
remembers who waits, and gives places away as they become free (`flows.warm_pool.choosing`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final
from uuid import UUID

from blocks.identifiers import Dcid
from flows.warm_pool.beamlines import Beamlines, dcid_of
from flows.warm_pool.choosing import Candidate, Limits, Line, UnderWay, choose
from flows.warm_pool.places import RunsUnderWay

if TYPE_CHECKING:
    from prefect.client.schemas.responses import WorkerFlowRunResponse

DECIDES: Final = "mimas"
"""Tag of the deployments whose runs decide, which deployments/prefect.yaml gives them."""

DECISION_QUEUE: Final = "mimas"
"""Their queue, which deployments/work_pools.yaml has."""

LOOK_SHARE: Final = 0.5
"""What looking for runs that decide may take of the time."""

WHOLE_LOOK_SHARE: Final = 0.2
"""What looking for all runs may: where a thousand wait, it takes the API's server half a second of computing."""

LONGEST_PAUSE_S: Final = 2.0
LONGEST_WHOLE_PAUSE_S: Final = 5.0
"""Between two looks at most: one that took long because the API hung says nothing about what the next one takes."""

UNASKED_S: Final = 1.5
"""After so long a look is due although nothing has been announced."""

TICK_S: Final = 0.3
"""Between two turns while runs wait: whether a run under way still computes is told by nobody."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Kind:
    dcid: Dcid | None
    decides: bool


class Turns:
    """The runs that wait for the worker, and whose turn it is.

    Parameters
    ----------
    limits
        How many runs may be under way.
    under_way
        Those that are.
    beamlines
        Which beamlines they are for.
    count_others
        How many runs are under way beside them, such as those of an earlier worker.
    """

    def __init__(
        self,
        limits: Limits,
        under_way: RunsUnderWay,
        beamlines: Beamlines,
        count_others: Callable[[], int] = lambda: 0,
    ) -> None:
        self._limits = limits
        self._under_way = under_way
        self._beamlines = beamlines
        self._count_others = count_others
        self._waiting: dict[UUID, WorkerFlowRunResponse] = {}
        self._kinds: dict[UUID, _Kind] = {}
        self._served: dict[Line, int] = {}
        self._turns = count(1)
        self._is_fresh = False
        self._has_news = self._owes_whole_look = True
        self._wake = asyncio.Event()
        self._looked_at = self._look_from = self._whole_look_from = float("-inf")

    @property
    def is_look_due(self) -> bool:
        """Whether the API is to be asked for runs, rather than a turn taken with those that are known."""
        return (self._has_news and time.monotonic() >= self._look_from) or self._is_whole_look_due

    @property
    def _is_whole_look_due(self) -> bool:
        now = time.monotonic()
        return now >= self._whole_look_from and (self._owes_whole_look or now - self._looked_at >= UNASKED_S)

    async def announce(self) -> None:
        """Have a look made soon: a run has been scheduled."""
        self._has_news = self._owes_whole_look = True
        self._wake.set()

    @contextmanager
    def running(self, run: UUID, pid: int) -> Iterator[None]:
        """Have a run under way while the block, and so its process, lasts; then another's turn comes."""
        with self._under_way.running(run, pid):
            yield
        self._wake.set()

    async def look(
        self,
        ask: Callable[[], Awaitable[Sequence[WorkerFlowRunResponse]]],
        ask_for_decisions: Callable[[], Awaitable[Sequence[WorkerFlowRunResponse] | None]],
    ) -> None:
        """Learn from the API which runs wait.

        Parameters
        ----------
        ask
            Returns all of them.
        ask_for_decisions
            Returns those that decide, which is soon done while a thousand recipe runs wait; None: that can't be said.
        """
        begun, is_whole = time.monotonic(), self._is_whole_look_due
        self._has_news = False  # before it's asked: what comes meanwhile is news again
        self._owes_whole_look = self._owes_whole_look and not is_whole
        try:
            found = await (ask() if is_whole else ask_for_decisions())
        except BaseException:
            self._has_news = self._owes_whole_look = True
            raise
        now = time.monotonic()
        self._look_from = now + min((now - begun) * (1 / LOOK_SHARE - 1), LONGEST_PAUSE_S)
        recipe_runs = {} if is_whole else {run: each for run, each in self._waiting.items() if not _decides(each)}
        if found is not None:
            self._waiting = {each.flow_run.id: each for each in found} | recipe_runs
            self._is_fresh = is_whole
        if is_whole:
            self._looked_at = now
            self._whole_look_from = now + min((now - begun) * (1 / WHOLE_LOOK_SHARE - 1), LONGEST_WHOLE_PAUSE_S)

    async def take(
        self, still_scheduled: Callable[[Collection[UUID]], Awaitable[set[UUID]]]
    ) -> list[WorkerFlowRunResponse]:
        """Return the runs that start now; each is under way from then on.

        Parameters
        ----------
        still_scheduled
            Says which of some runs haven't been cancelled, or taken, since the API was asked for those that wait.
        """
        chosen = await self._choose()
        if chosen and not self._is_fresh:
            scheduled = await still_scheduled([candidate.run for candidate in chosen])
            for candidate in chosen:
                if candidate.run not in scheduled:
                    del self._waiting[candidate.run]
            chosen = [candidate for candidate in chosen if candidate.run in scheduled]
        self._is_fresh = False
        return [self._start(candidate) for candidate in chosen]

    async def keep_looking(self, take_runs: Callable[[], Awaitable[object]]) -> None:
        """Have turns taken whenever there's news, and every now and then while runs wait; until cancelled."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), TICK_S)
            self._wake.clear()
            if self._has_news:
                await asyncio.sleep(min(max(0.0, self._look_from - time.monotonic()), TICK_S))
            elif not self._waiting and not self.is_look_due:
                continue
            try:
                await take_runs()
            except Exception as error:  # whatever the API comes up with: Prefect's own loop goes on looking as well
                logger.warning("can't look for scheduled runs (%s): they start later until that works", error)
                await asyncio.sleep(UNASKED_S)

    async def _choose(self) -> list[Candidate]:
        """Choose from those that wait, asking for their beamlines only if not all can start."""
        busy = self._under_way.look(is_short=lambda run: self._kind(run).decides)
        for run in self._kinds.keys() - busy.keys() - self._waiting.keys():
            del self._kinds[run]
        for run in busy.keys() & self._waiting.keys():
            del self._waiting[run]
        for waiting in self._waiting.values():
            self._kinds[waiting.flow_run.id] = _kind_of(waiting)
        chosen = self._choose_as_known(busy.items())
        if len(chosen) < len(self._waiting):
            await self._beamlines.look_up(kind.dcid for kind in self._kinds.values())
            chosen = self._choose_as_known(busy.items())
        return chosen

    def _choose_as_known(self, busy: Iterable[tuple[UUID, bool]]) -> list[Candidate]:
        waiting = [Candidate(run, self._line(run)) for run in self._waiting]
        under_way = [UnderWay(self._line(run), is_busy) for run, is_busy in busy]
        under_way += [UnderWay(Line("", decides=False), is_busy=False)] * self._count_others()
        return choose(waiting, under_way, self._limits, self._served)

    def _start(self, candidate: Candidate) -> WorkerFlowRunResponse:
        self._served[candidate.line] = next(self._turns)
        self._under_way.take(candidate.run)
        return self._waiting.pop(candidate.run)

    def _kind(self, run: UUID) -> _Kind:
        return self._kinds.get(run, _Kind(None, decides=False))

    def _line(self, run: UUID) -> Line:
        kind = self._kind(run)
        return Line(self._beamlines.of(kind.dcid), kind.decides)


def _kind_of(waiting: WorkerFlowRunResponse) -> _Kind:
    return _Kind(dcid_of(waiting.flow_run.parameters), _decides(waiting))


def _decides(waiting: WorkerFlowRunResponse) -> bool:
    return DECIDES in waiting.flow_run.tags
