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
from tasks.diffraction.errors import DialsUnavailable
from tasks.diffraction.requests import DiffractionOutcome, DiffractionRequest, Failure, Poison
from tasks.step import USUAL_RETRIES

logger = logging.getLogger(__name__)

TRIES = 2
"""Times that an image is tried which ends its process: some processes are killed by no fault of their image."""


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
        outcomes: list[DiffractionOutcome] = []
        tries = 0
        while len(outcomes) < len(requests):
            started = len(outcomes)
            if refusal := self._record.refusal(requests[started]):
                outcomes.append(refusal)
                continue
            try:
                self._meet_until_refused(requests[started:], outcomes)
            except DialsUnavailable as error:
                return outcomes, error
            except ChildDied as death:
                tries = tries + 1 if len(outcomes) == started else 1
                if failed := self._give_up(requests[len(outcomes)], death, tries):
                    outcomes.append(failed)
                    tries = 0
        return outcomes, None

    def _meet_until_refused(self, requests: Sequence[DiffractionRequest], outcomes: list[DiffractionOutcome]) -> None:
        """Add the outcomes of requests, up to the first one that isn't to be tried."""
        wanted = [*itertools.takewhile(lambda request: self._record.refusal(request) is None, requests)]
        with self._borrow() as child:
            for request, outcome in zip(wanted, child.answer(wanted), strict=True):
                self._record.note_life(request)
                outcomes.append(outcome)

    def _give_up(self, request: DiffractionRequest, death: ChildDied, tries: int) -> Failure | None:
        """Return the outcome of an image that has ended its process; None if it's to be tried again."""
        logger.warning("The DIALS process died at %s (try %d of %d): %s", request.image, tries, TRIES, death)
        if isinstance(death, ChildKilled):
            reason = f"the DIALS process was killed while it worked on {request.image}: {death}"
            return Failure(reason, may_pass=True, ended_process=True) if tries >= TRIES else None
        # A hang has cost minutes; and after another image of the same file no second try is needed to tell.
        if tries >= TRIES or isinstance(death, ChildHung) or self._record.has_just_killed(request):
            return self._record.note_death(request, str(death))
        return None

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
