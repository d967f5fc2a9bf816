"""Run a filled-in recipe: every node a task of its own, joined by bounded channels. Knows nothing of Prefect.

A node starts at its first message and finishes when all that feed it have finished and its inbox is empty;
a node that gets no message doesn't run. Messages that a step refuses are kept with their reason, and the rest go on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from flows.recipe.channel import Channel
from flows.recipe.language import Recipe
from flows.recipe.routing import Routes
from tasks.registry import load_step, queue_of
from tasks.resources import Resources
from tasks.step import Message, Send, Step, StepContext
from tasks.step_runner import run_step

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Refusal:
    """A message that a node could not use, and why."""

    node: int
    payload: Any
    reason: str


@dataclass
class NodeRecord:
    """What one node did so far.

    `done` and `expected` are what its step says of its progress (images, files …); `sent` counts by output name.
    """

    node: int
    label: str
    received: int = 0
    sent: Counter[str] = field(default_factory=Counter)
    refused: list[Refusal] = field(default_factory=list)
    failure: str | None = None
    done: int = 0
    expected: int | None = None
    started: float | None = None
    finished: float | None = None

    @property
    def state(self) -> str:
        """One word for it: waiting, running, done, failed, or not needed."""
        if self.started is None:
            return "waiting" if self.finished is None else "not needed"
        if self.finished is None:
            return "running"
        return "failed" if self.failure or self.refused else "done"

    @property
    def fault(self) -> str | None:
        """Why the node has failed, in a line; None if it hasn't."""
        if self.failure:
            return self.failure
        if self.refused:
            return f"{len(self.refused)} of {self.received} messages refused; the first: {self.refused[0].reason}"
        return None


class NodeRunner(Protocol):
    """Wraps the work of a node, from its first message on: the Prefect flow makes a task run of it."""

    def __call__(self, record: NodeRecord, work: Callable[[], Awaitable[None]], /) -> Awaitable[None]:
        """Do the work of a node."""
        ...


async def _run_bare(record: NodeRecord, work: Callable[[], Awaitable[None]]) -> None:
    await work()


class RecipeRun:
    """One run of a recipe.

    Parameters
    ----------
    recipe
        With its placeholders filled.
    recipe_run
        Zocalo's recipe ID (guid): in every message's environment as `ID`.
    resources
        Connections that the steps share.
    run_node
        Wraps each node's work.

    Raises
    ------
    UnknownStep
        A node names a queue or service that no step serves: before anything runs.
    """

    def __init__(self, recipe: Recipe, recipe_run: str, resources: Resources, run_node: NodeRunner = _run_bare) -> None:
        self.recipe, self.recipe_run = recipe, recipe_run
        self._resources, self._run_node = resources, run_node
        self._steps = {number: load_step(queue_of(number, node)) for number, node in recipe.nodes.items()}
        self._routes = {
            number: Routes(node.get("output"), self._steps[number].default_output)
            for number, node in recipe.nodes.items()
        }
        feeders: Counter[int] = Counter(target for routes in self._routes.values() for target in routes.targets())
        feeders.update({number for number, _ in recipe.start})
        self._channels = {number: Channel(feeders[number]) for number in recipe.nodes}
        self.records = {
            number: NodeRecord(number, f"{number} · {self._steps[number].name}") for number in sorted(recipe.nodes)
        }

    async def run(self) -> Mapping[int, NodeRecord]:
        """Run all nodes to their end and return what each did."""
        try:
            async with asyncio.TaskGroup() as group:
                for number in self.recipe.nodes:
                    group.create_task(self._node(number), name=self.records[number].label)
                group.create_task(self._start())
        finally:
            for channel in self._channels.values():
                channel.cancel()
        return self.records

    def refusals(self) -> Iterator[Refusal]:
        """All messages that were refused so far, node by node."""
        for record in self.records.values():
            yield from record.refused

    async def _start(self) -> None:
        for number, payload in self.recipe.start:
            await self._deliver(number, Message(payload, {"ID": self.recipe_run}))
        await self._close({number for number, _ in self.recipe.start})

    async def _deliver(self, target: int, message: Message, delay: float | None = None) -> None:
        if delay is None:
            delay = float(self.recipe.nodes[target].get("transport-delay") or 0)
        await self._channels[target].put(message, delay)

    async def _node(self, number: int) -> None:
        """Wait for a node's first message, run it, and close what it feeds."""
        record = self.records[number]
        async for first in self._channels[number]:
            record.started = time.time()
            await self._run_node(record, partial(self._work, number, first))
        record.finished = time.time()
        await self._close(self._routes[number].targets())

    async def _close(self, targets: Iterable[int]) -> None:
        # all at once: one of them may have to wait for what it has delayed
        await asyncio.gather(*(self._channels[target].feeder_finished() for target in targets))

    async def _work(self, number: int, first: Message) -> None:
        """Feed a node's messages to its step and route what it sends."""
        step, record, routes = self._steps[number], self.records[number], self._routes[number]
        inbox = _Inbox(first, self._channels[number], record)
        try:
            async for send in run_step(step, inbox, self._context(number, step)):
                record.sent[send.output or ""] += 1
                await self._route(routes, send)
        except Exception as error:
            logger.exception("step %s of recipe run %s has failed", record.label, self.recipe_run)
            record.failure = f"{type(error).__name__}: {error}"
            if inbox.current is not None:
                self._refuse(record, inbox.current, error)
            async for message in inbox:  # else the nodes that feed this one would wait for room for ever
                self._refuse(record, message, error)
        record.finished = time.time()

    async def _route(self, routes: Routes, send: Send) -> None:
        targets = routes[send.output]
        if targets:
            message = Message(send.payload, send.environment or {})
            for target in targets:
                await self._deliver(target, message, send.delay)

    def _context(self, number: int, step: Step) -> StepContext:
        record = self.records[number]

        def progress(done: int, expected: int | None) -> None:
            record.done, record.expected = done, expected

        return StepContext(
            node=self.recipe.nodes[number],
            recipe_run=self.recipe_run,
            resources=self._resources,
            refuse=lambda message, error: self._refuse(record, message, error),
            progress=progress,
            logger=logging.LoggerAdapter(
                logging.getLogger(f"tasks.{step.name}"), {"recipe_run": self.recipe_run, "node": number}
            ),
        )

    def _refuse(self, record: NodeRecord, message: Message, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}"
        logger.error("%s refuses a message: %s", record.label, reason)
        record.refused.append(Refusal(record.node, message.payload, reason))


class _Inbox:
    """A channel's messages, the first of which has been taken already; counts them and knows the latest."""

    def __init__(self, first: Message, channel: Channel, record: NodeRecord) -> None:
        self._first: Message | None = first
        self.current: Message | None = None
        self._channel, self._record = channel, record

    def __aiter__(self) -> _Inbox:
        return self

    async def __anext__(self) -> Message:
        message, self._first, self.current = self._first, None, None
        if message is None:
            message = await self._channel.__anext__()
        self._record.received += 1
        self.current = message
        return message
