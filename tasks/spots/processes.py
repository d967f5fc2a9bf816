"""Requests met by several DIALS processes at once, and answered in their order."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Final, Self

from tasks.diffraction.chunking import chunk_size
from tasks.diffraction.dials_processes.child_pool import ChildPool
from tasks.diffraction.requests import DiffractionOutcome, DiffractionRequest

LEAVE_S: Final = 1.0
"""For an image that is worked on when nobody wants it any more. After that its process ends by itself, once it's done:
nobody is at the other end of its connection."""

_Answered = tuple[int, Sequence[DiffractionOutcome]]


class ImageProcesses:
    """DIALS processes, started at once, and ended with the block.

    A process that crashes costs the image that it was working on.

    Parameters
    ----------
    count
        How many.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ChildPool()
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
        work = _Work(requests, self.count)
        answered: queue.SimpleQueue[_Answered | Exception] = queue.SimpleQueue()
        for _ in range(min(self.count, len(requests))):
            # As daemons: an image that hangs its process keeps nobody from leaving.
            thread = threading.Thread(target=self._work_off, args=(work, answered), daemon=True)
            thread.start()
            self._threads.append(thread)  # afterwards: one that an interrupt has kept from starting can't be waited for
        early: dict[int, DiffractionOutcome] = {}
        for number in range(len(requests)):
            while number not in early:
                answer = answered.get()
                if isinstance(answer, Exception):
                    raise answer
                early.update(enumerate(answer[1], answer[0]))
            yield early.pop(number)

    def _work_off(self, work: _Work, answered: queue.SimpleQueue[_Answered | Exception]) -> None:
        try:
            while not self._is_over.is_set() and (chunk := work.take()) is not None:
                first, requests = chunk
                started = time.perf_counter()
                outcomes = self._pool.meet(requests)
                work.learn((time.perf_counter() - started) / len(requests))
                answered.put((first, outcomes))
        except Exception as error:  # for the thread that waits for answers
            answered.put(error)


class _Work:
    """What is left to do, handed out in chunks."""

    def __init__(self, requests: Sequence[DiffractionRequest], workers: int) -> None:
        self._requests = requests
        self._workers = workers
        self._next = 0
        self._seconds: float | None = None
        self._lock = threading.Lock()

    def take(self) -> tuple[int, Sequence[DiffractionRequest]] | None:
        """Return some requests and the first one's place; None: there are no more."""
        with self._lock:
            left = len(self._requests) - self._next
            if left <= 0:
                return None
            first = self._next
            self._next += chunk_size(left, self._workers, self._seconds)
            return first, self._requests[first : self._next]

    def learn(self, seconds: float) -> None:
        """Take in how long one has taken: the shortest of all, since the first ones wait for DIALS."""
        with self._lock:
            self._seconds = seconds if self._seconds is None else min(seconds, self._seconds)


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))
