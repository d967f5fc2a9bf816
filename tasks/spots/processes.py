"""Requests met by several DIALS processes at once, and answered in their order."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from tasks.diffraction.chunking import chunk_size
from tasks.diffraction.dials_processes.child import PROGRAM
from tasks.diffraction.dials_processes.child_pool import ChildPool
from tasks.diffraction.errors import DialsNotYet, DialsUnavailable
from tasks.diffraction.requests import DiffractionOutcome, DiffractionRequest, Success

LEAVE_S: Final = 1.0
"""For an image that is worked on when nobody wants it any more. After that its process ends by itself, once it's done:
nobody is at the other end of its connection."""

STARTS: Final = 3
"""In a row, of DIALS processes that are ended while they start, as when memory is short, before there is none to wait
for any more."""


@dataclass(frozen=True, slots=True)
class _Answered:
    """Outcomes of requests from a place on, and when their work was begun with, by what those took that were met."""

    first: int
    outcomes: Sequence[DiffractionOutcome]
    began: float


@dataclass(frozen=True, slots=True)
class _Ended:
    """A thread has ended, as there's no more to do, or by an error."""

    error: Exception | None = None


class ImageProcesses:
    """DIALS processes, started at once, and ended with the block.

    A process that crashes costs the image that it was working on; one that is ended while it starts costs none.

    Parameters
    ----------
    count
        How many.
    program
        What they run.

    Attributes
    ----------
    work_began
        When the first request of those that were asked for last was begun with (`time.perf_counter`), by what those
        that were met took; None: no outcome is there yet.
    """

    def __init__(self, count: int, program: Sequence[str] = PROGRAM) -> None:
        self.count = count
        self.work_began: float | None = None
        self._pool = ChildPool(program)
        self._threads: list[threading.Thread] = []
        self._is_over = threading.Event()

    def __enter__(self) -> Self:
        self._pool.prestart(self.count)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_over.set()
        deadline = time.monotonic() + LEAVE_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._pool.close()

    def answers(self, requests: Sequence[DiffractionRequest]) -> Iterator[DiffractionOutcome]:
        """Yield each request's outcome, in order, as soon as it's there and those before it are.

        Raises
        ------
        DialsUnavailable
            No DIALS process can be started.
        """
        self.work_began = None
        work = _Work(requests, self.count)
        said: queue.SimpleQueue[_Answered | _Ended] = queue.SimpleQueue()
        running = min(self.count, len(requests))
        for _ in range(running):
            self._start_thread(work, said)
        early: dict[int, DiffractionOutcome] = {}
        failed_starts = 0
        is_known_to_work = False
        for number in range(len(requests)):
            while number not in early:
                event = said.get()
                if isinstance(event, _Answered):
                    early.update(enumerate(event.outcomes, event.first))
                    self.work_began = min(event.began, self.work_began or event.began)
                    failed_starts, is_known_to_work = 0, True
                    continue
                running -= 1
                if event.error is None:
                    continue
                if not isinstance(event.error, DialsUnavailable):
                    raise event.error
                failed_starts += 1
                # The others may have found no more to do before the work of this one came back
                may_start = is_known_to_work or isinstance(event.error, DialsNotYet)
                if may_start and failed_starts < STARTS * self.count:
                    self._start_thread(work, said)
                    running += 1
                elif not running:
                    raise event.error
            yield early.pop(number)

    def _start_thread(self, work: _Work, said: queue.SimpleQueue[_Answered | _Ended]) -> None:
        # As daemons: an image that hangs its process keeps nobody from leaving.
        thread = threading.Thread(target=self._work_off, args=(work, said), daemon=True)
        thread.start()
        self._threads.append(thread)  # afterwards: one that an interrupt has kept from starting can't be waited for

    def _work_off(self, work: _Work, said: queue.SimpleQueue[_Answered | _Ended]) -> None:
        try:
            while not self._is_over.is_set() and (chunk := work.take()) is not None:
                first, requests = chunk
                started = time.perf_counter()
                outcomes, lack = self._pool.meet_first(requests)
                if outcomes:
                    ended = time.perf_counter()
                    work.learn((ended - started) / len(outcomes))
                    took = sum(outcome.seconds for outcome in outcomes if isinstance(outcome, Success))
                    said.put(_Answered(first, outcomes, ended - took))
                if lack is not None:
                    work.give_back(first + len(outcomes), requests[len(outcomes) :])
                    raise lack
        except Exception as error:  # for the thread that waits for answers
            said.put(_Ended(error))
        else:
            said.put(_Ended())


class _Work:
    """What is left to do, handed out in chunks."""

    def __init__(self, requests: Sequence[DiffractionRequest], workers: int) -> None:
        self._requests = requests
        self._workers = workers
        self._next = 0
        self._back: deque[tuple[int, Sequence[DiffractionRequest]]] = deque()
        self._seconds: float | None = None
        self._lock = threading.Lock()

    def take(self) -> tuple[int, Sequence[DiffractionRequest]] | None:
        """Return some requests and the first one's place; None: there are no more."""
        with self._lock:
            if self._back:
                return self._back.popleft()
            left = len(self._requests) - self._next
            if left <= 0:
                return None
            first = self._next
            self._next += chunk_size(left, self._workers, self._seconds)
            return first, self._requests[first : self._next]

    def give_back(self, first: int, requests: Sequence[DiffractionRequest]) -> None:
        """Have requests done by whoever takes some next."""
        with self._lock:
            self._back.append((first, requests))

    def learn(self, seconds: float) -> None:
        """Take in how long one has taken: the shortest of all, since the first ones wait for DIALS."""
        with self._lock:
            self._seconds = seconds if self._seconds is None else min(seconds, self._seconds)


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))
