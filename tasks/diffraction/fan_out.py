"""Send requests to the analysis cluster as Dask futures, and take the results as they come.

What a Dask task costs (some milliseconds) is shared by the images of a chunk, but nobody waits for a chunk to fill: an
image that comes alone goes out alone. Chunks grow only out of what waits because all workers are busy.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import CancelledError as FutureCancelled
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from blocks.analysis_cluster import AnalysisClusterUnavailable
from blocks.errors import PassingFault, PlazaError
from blocks.retrying import Pauses, retry
from tasks.diffraction.chunking import LARGEST_CHUNK, chunk_size
from tasks.diffraction.dials_processes.deaths import DeathsInARow
from tasks.diffraction.errors import DialsUnavailable
from tasks.diffraction.requests import (
    Chunk,
    ChunkAnswer,
    DiffractionOutcome,
    DiffractionRequest,
    Failure,
    Poison,
    Success,
)
from tasks.file_version import is_later
from tasks.logs.relay import relay
from tasks.step import USUAL_RETRIES, Message, Retries, StepContext
from tasks.step.identity import current_identity

if TYPE_CHECKING:
    from distributed import Client

T = TypeVar("T")

CHUNKS_PER_WORKER = 2
"""Chunks in flight for each worker: one at work, and the next at hand when it's done."""
IMAGE_RETRIES = Retries(tries=8, longest_pause_s=16.0)
"""How an image is tried again that can't be read now: for 32 to 63 s.

As long as a file that is written slowly may need, and as an NFS client may go without asking its server: 30 s for a
file, 60 s for a folder.
"""

TRIES = 6
PAUSES = Pauses(first_s=1.0, longest_s=16.0)  # half a minute in all: a scheduler that was started again is back by then
WORKER_COUNT_INTERVAL_S = 5.0  # it asks the scheduler: not for each chunk


class AnalysisFailed(PlazaError):
    """DIALS can't analyse or draw an image; the message says which and why."""


class ImageNotReady(PassingFault):
    """An image can't be read yet, or its preview can't be written now: file systems may lag behind one another."""


@dataclass(frozen=True, slots=True)
class MessageRequest:
    """A message, and what is asked of the cluster for it."""

    message: Message
    request: DiffractionRequest


class FanOut:
    """Meets the requests of a stream of messages on the analysis cluster.

    It takes no more from the inbox than the workers will soon need, and holds no result longer than it takes to pass
    it on.

    Parameters
    ----------
    context
        The step's context: the cluster's client, and where messages go that can't be met.
    make_request
        Makes the request of a message; raises for one that can't be used.
    """

    def __init__(self, context: StepContext, make_request: Callable[[Message], DiffractionRequest]) -> None:
        self._context = context
        self._make_request = make_request
        self._waiting: deque[MessageRequest] = deque()
        self._running: dict[asyncio.Task[list[DiffractionOutcome]], tuple[MessageRequest, ...]] = {}
        self._seconds_per_image: float | None = None
        self._poison: dict[str, Poison] = {}
        self._deaths = DeathsInARow()
        self._news, self._has_room = asyncio.Event(), asyncio.Event()
        # Dask keeps a record for ever of each group of tasks, and a key that is a plain string is a group of its own.
        self._name = f"images-{uuid4().hex}"
        self._workers = 1
        self._workers_counted = -math.inf

    async def results(self, inbox: AsyncIterator[Message]) -> AsyncIterator[tuple[Message, Any]]:
        """Yield each message with its result, as they complete; refuse the messages that have none."""
        arrivals = self._watched(self._take_all(inbox))
        try:
            while True:
                await self._start_chunks()
                if arrivals.done():
                    arrivals.result()
                    if not self._waiting and not self._running:
                        return
                await self._news.wait()
                self._news.clear()
                for chunk in [chunk for chunk in self._running if chunk.done()]:
                    for result in self._finish(chunk):
                        yield result
        finally:
            await _cancel([*self._running, arrivals])

    async def _take_all(self, inbox: AsyncIterator[Message]) -> None:
        """Take the messages as they come, one task for all, and leave the inbox alone while enough wait."""
        async for message in inbox:
            self._accept(message)
            self._news.set()
            while len(self._waiting) >= self._most_waiting:
                self._has_room.clear()
                await self._has_room.wait()

    def _watched(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task whose end is news."""
        task = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._news.set())
        return task

    @property
    def _most_waiting(self) -> int:
        return 2 * self._workers * LARGEST_CHUNK

    def _accept(self, message: Message) -> None:
        try:
            self._waiting.append(MessageRequest(message, self._make_request(message)))
        except Exception as error:  # a message that can't be read costs none of the others
            self._context.refuse(message, error)

    async def _start_chunks(self) -> None:
        if self._waiting:
            await self._count_workers()
        while self._waiting and self._deaths.is_resting:
            self._context.refuse(self._waiting.popleft().message, _not_tried(self._deaths))
        while self._waiting and len(self._running) < self._most_running:
            size = chunk_size(len(self._waiting), self._workers, self._seconds_per_image)
            if self._deaths.are_too_many:
                size = 1
            items = tuple(self._waiting.popleft() for _ in range(size))
            chunk = Chunk(tuple(item.request for item in items), current_identity(), frozenset(self._poison.values()))
            self._running[self._watched(self._meet(chunk))] = items
        if len(self._waiting) < self._most_waiting:
            self._has_room.set()

    @property
    def _most_running(self) -> int:
        return 1 if self._deaths.are_too_many else CHUNKS_PER_WORKER * self._workers

    async def _count_workers(self) -> None:
        """Learn now and then how many workers there are: a cluster may grow. If none, two chunks wait for the first."""
        now = asyncio.get_running_loop().time()
        if now - self._workers_counted < WORKER_COUNT_INTERVAL_S:
            return
        self._workers_counted = now
        with suppress(*_cluster_faults()):
            client = await self._context.resources.analysis_client()
            threads = sum((await client.nthreads()).values())
            if threads == 0:
                self._context.logger.warning("The analysis cluster has no worker yet; images wait for the first")
            self._workers = max(1, threads)

    def _finish(self, task: asyncio.Task[list[DiffractionOutcome]]) -> list[tuple[Message, Any]]:
        items = self._running.pop(task)
        try:
            outcomes = task.result()
        except Exception as error:
            if isinstance(error, DialsUnavailable):
                self._note_death(Failure(str(error), USUAL_RETRIES.may_pass(error)))
            for item in items:
                self._context.refuse(item.message, error)
            return []
        results = []
        self._waiting.extendleft(reversed(items[len(outcomes) :]))  # what the chunk had no time for
        for item, outcome in zip(items, outcomes, strict=False):
            if isinstance(outcome, Failure):
                self._fail(item, outcome)
            else:
                self._learn(outcome)
                results.append((item.message, outcome.value))
        return results

    def _fail(self, item: MessageRequest, failure: Failure) -> None:
        if failure.poison is not None:
            self._note_poison(failure.poison)
        if failure.ended_process:
            # A bad file counts once, whatever of it is tried; one whose processes are killed isn't bad.
            self._note_death(failure, None if failure.may_pass else item.request.file)
        elif failure.poison is None:
            self._deaths.clear()
        self._refuse_for(item, failure)

    def _note_poison(self, poison: Poison) -> None:
        known = self._poison.get(poison.file)
        if known is not None and not is_later(poison.version, known.version):
            return
        self._poison[poison.file] = poison
        self._context.logger.warning(
            "Images of %s end their DIALS process one after another: none is tried again until it's written anew",
            poison.file,
        )

    def _note_death(self, failure: Failure, file: str | None = None) -> None:
        if self._deaths.note(failure, file):
            self._context.logger.error(
                "DIALS processes end at whatever they work on: images wait, but for one at times. Lastly: %s",
                failure.reason,
            )

    def _refuse_for(self, item: MessageRequest, failure: Failure) -> None:
        fault = ImageNotReady if failure.may_pass else AnalysisFailed
        self._context.refuse(item.message, fault(failure.reason))

    def _learn(self, outcome: Success) -> None:
        self._deaths.clear()
        last = self._seconds_per_image
        # A running mean over about five images: one that waited for its file system doesn't shrink all chunks.
        self._seconds_per_image = outcome.seconds if last is None else 0.8 * last + 0.2 * outcome.seconds

    async def _meet(self, chunk: Chunk) -> list[DiffractionOutcome]:
        """Have a chunk met by a worker; again, if the worker or the cluster is lost.

        Raises
        ------
        AnalysisClusterUnavailable
            It's lost for good.
        """
        from tasks.diffraction.worker import meet_requests

        client: Client | None = None
        attempts = itertools.count(1)

        async def once() -> list[DiffractionOutcome]:
            nonlocal client
            attempt = next(attempts)
            try:
                broken = client if client is not None and client.status != "running" else None
                client = await self._context.resources.analysis_client(instead_of=broken)
                answer: ChunkAnswer = await client.submit(
                    meet_requests, chunk, key=(self._name, uuid4().hex), pure=False
                )
            except faults as error:
                self._context.logger.warning(
                    "The analysis cluster lost %d images (try %d of %d): %s: %s",
                    *(len(chunk.requests), attempt, TRIES, type(error).__name__, error),
                )
                raise
            relay(answer.log)
            return answer.outcomes

        faults = _cluster_faults()
        try:
            return await retry(once, faults, PAUSES, tries=TRIES)
        except faults as error:
            raise AnalysisClusterUnavailable(
                f"the analysis cluster failed {TRIES} times, lastly with {type(error).__name__}: {error}"
            ) from error


def _not_tried(deaths: DeathsInARow) -> ImageNotReady:
    """Return why an image isn't even tried, which is no fault of its own."""
    return ImageNotReady(
        f"DIALS processes end at whatever they work on: this image wasn't tried; the next one is, in "
        f"{deaths.rest_s:.0f} s. Lastly: {deaths.last}"
    )


def _cluster_faults() -> tuple[type[Exception], ...]:
    """Return what may be raised when a worker, the scheduler or the way to it is lost."""
    from distributed import KilledWorker
    from distributed.client import ClosedClientError
    from distributed.comm.core import CommClosedError

    return (AnalysisClusterUnavailable, KilledWorker, ClosedClientError, CommClosedError, FutureCancelled, OSError)


async def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
