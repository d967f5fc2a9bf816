"""The DIALS processes of a Dask worker, and what is done about those that die."""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from tasks.diffraction.dials_processes.child import PROGRAM, Child, ChildDied, ChildHung, ChildKilled
from tasks.diffraction.dials_processes.deaths import PoisonRecord
from tasks.diffraction.dials_processes.own_way_deaths import (
    DIED,
    DIED_OFTEN,
    OwnWayDeaths,
    by_dials_alone,
    died_by_own_way,
    may_be_own_way,
)
from tasks.diffraction.errors import DialsUnavailable
from tasks.diffraction.requests import DiffractionOutcome, DiffractionRequest, Failure, Poison
from tasks.step import USUAL_RETRIES

logger = logging.getLogger(__name__)

TRIES = 2
"""Times that an image is tried which ends its process: some processes are killed by no fault of their image.

After a death at which Plaza's own way may be at fault, DIALS has the next try.
"""

KILLED_BEFORE = "another image of its file has ended its process"


class ChildPool:
    """The DIALS processes of this process: as many as threads ask for at the same time."""

    _idle: list[Child]

    def __init__(self, program: Sequence[str] = PROGRAM) -> None:
        self._program = program
        self.forget()

    def forget(self) -> None:
        """Have no processes: those of a parent from which this process was forked are not its own."""
        self._idle = []
        self._lock = threading.Lock()
        self._record = PoisonRecord()
        self._own_way_deaths = OwnWayDeaths()

    def meet(self, requests: Sequence[DiffractionRequest], poison: Iterable[Poison] = ()) -> list[DiffractionOutcome]:
        """Have requests met, in order, by one DIALS process (by several, if it dies).

        Parameters
        ----------
        poison
            Files that are known to end DIALS processes.

        Raises
        ------
        DialsUnavailable
            No DIALS process can be started, and none has met a request.
        """
        outcomes, error = self.meet_first(requests, poison)
        if error is not None:
            if not outcomes:
                raise error
            failure = Failure(str(error), USUAL_RETRIES.may_pass(error), ended_process=True)
            outcomes += [failure] * (len(requests) - len(outcomes))
        return outcomes

    def meet_first(
        self, requests: Sequence[DiffractionRequest], poison: Iterable[Poison] = ()
    ) -> tuple[list[DiffractionOutcome], DialsUnavailable | None]:
        """Do the same, for the first requests only if no DIALS process can be started for others; with why not."""
        self._record.learn(poison)
        requests = [*requests]
        outcomes: list[DiffractionOutcome] = []
        tries = 0
        while len(outcomes) < len(requests):
            started = len(outcomes)
            requests[started:] = map(self._choose_way, requests[started:])
            if refusal := self._record.refusal(requests[started]):
                outcomes.append(refusal)
                continue
            try:
                self._meet_until_refused(requests[started:], outcomes)
            except DialsUnavailable as error:
                return outcomes, error
            except ChildDied as death:
                tries = tries + 1 if len(outcomes) == started else 1
                met = len(outcomes)
                next_try = self._after_death(requests[met], death, tries)
                if isinstance(next_try, Failure):
                    outcomes.append(next_try)
                    tries = 0
                else:
                    requests[met] = next_try
        return outcomes, None

    def _choose_way(self, request: DiffractionRequest) -> DiffractionRequest:
        """Return a request as it is to be tried: by DIALS alone where Plaza's own way would likely cost a process."""
        if may_be_own_way(request):
            if self._own_way_deaths.are_too_many:
                return by_dials_alone(request, DIED_OFTEN)
            if self._record.has_just_killed(request):
                return by_dials_alone(request, KILLED_BEFORE)
        return request

    def _meet_until_refused(self, requests: Sequence[DiffractionRequest], outcomes: list[DiffractionOutcome]) -> None:
        """Add the outcomes of requests, up to the first one that isn't to be tried."""
        wanted = [*itertools.takewhile(lambda request: self._record.refusal(request) is None, requests)]
        if died_by_own_way(wanted[0]):
            wanted = wanted[:1]  # by its outcome it's chosen how the next ones are tried
        with self._borrow() as child:
            for request, outcome in zip(wanted, child.answer(wanted), strict=True):
                self._record.note_life(request)
                self._own_way_deaths.note(request, outcome)
                outcomes.append(outcome)

    def _after_death(self, request: DiffractionRequest, death: ChildDied, tries: int) -> DiffractionRequest | Failure:
        """Return how an image that has ended its process is to be tried again; its outcome, if it isn't."""
        logger.warning("The DIALS process died at %s (try %d of %d): %s", request.image, tries, TRIES, death)
        if isinstance(death, ChildKilled):
            reason = f"the DIALS process was killed while it worked on {request.image}: {death}"
            return Failure(reason, may_pass=True, ended_process=True) if tries >= TRIES else request
        if may_be_own_way(request):
            return by_dials_alone(request, DIED)
        # A hang has cost minutes; and after another image of the same file no second try is needed to tell.
        if tries >= TRIES or isinstance(death, ChildHung) or self._record.has_just_killed(request):
            return self._record.note_death(request, str(death))
        return request

    @contextmanager
    def _borrow(self) -> Iterator[Child]:
        with self._lock:
            child = self._idle.pop() if self._idle else None
        if child is not None and not child.is_alive:
            child.close()
            child = None
        child = child or Child(self._program)
        try:
            yield child
        except BaseException:
            child.kill()  # it may be in the midst of an answer
            raise
        with self._lock:
            self._idle.append(child)

    def prestart(self, count: int = 1) -> None:
        """Start processes, without waiting until they are ready; what can't be started is left to the first image."""
        with self._lock:
            try:
                for _ in range(count):
                    self._idle.append(Child(self._program))
            except DialsUnavailable as error:
                logger.warning("%s", error)

    def close(self) -> None:
        """End the idle processes."""
        with self._lock:
            idle, self._idle = self._idle, []
        for child in idle:
            child.close()


CHILDREN = ChildPool()
atexit.register(CHILDREN.close)
os.register_at_fork(after_in_child=CHILDREN.forget)
