"""Run a filled-in recipe: every node a task of its own, joined by bounded channels. Knows nothing of Prefect.

A node starts at its first message and finishes when all that feed it have finished and its inbox is empty;
a node that gets no message doesn't run. Messages that a step refuses are kept with their reason and go along the
error links of node and recipe; the rest go on.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol

from blocks.errors import RecipeError
from flows.recipe.channel import Channel
from flows.recipe.language import Recipe
from flows.recipe.routing import Routes, error_targets
from tasks.registry import load_step, queue_of
from tasks.resources import Resources
from tasks.step import Message, Step, StepContext
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
        Wraps each node's work. If it fails, the work is done all the same.

    Raises
    ------
    UnknownStep
        A node names a queue or service that no step serves: before anything runs.
    RecipeError
        A transport delay is no number of seconds.
    """

    def __init__(self, recipe: Recipe, recipe_run: str, resources: Resources, run_node: NodeRunner = _run_bare) -> None:
        self.recipe, self.recipe_run = recipe, recipe_run
        self._resources, self._run_node = resources, run_node
        self._steps = {number: load_step(queue_of(number, node)) for number, node in recipe.nodes.items()}
        self._routes = {
            number: Routes(node.get("output"), self._steps[number].default_output)
            for number, node in recipe.nodes.items()
        }
        self._error_targets = error_targets(recipe)
        self._delays = {number: _delay(number, node.get("transport-delay")) for number, node in recipe.nodes.items()}
        feeders = Counter(target for number in recipe.nodes for target in self._fed_by(number))
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

    def _fed_by(self, number: int) -> set[int]:
        return self._routes[number].targets() | set(self._error_targets[number])

    async def _start(self) -> None:
        for number, payload in self.recipe.start:
            await self._channels[number].put(Message(payload, {"ID": self.recipe_run}), self._delays[number])
        for number in {number for number, _ in self.recipe.start}:
            self._channels[number].feeder_finished()

    async def _node(self, number: int) -> None:
        """Wait for a node's first message, run it, and close what it feeds."""
        record = self.records[number]
        async for first in self._channels[number]:
            record.started = record.started or time.time()
            await self._run_wrapped(number, first)
        record.finished = time.time()
        for target in self._fed_by(number):
            self._channels[target].feeder_finished()

    async def _run_wrapped(self, number: int, first: Message) -> None:
        """Do a node's work inside of what wraps it, or without that if it fails: the work is what counts."""
        has_begun = False

        async def work() -> None:
            nonlocal has_begun
            has_begun = True
            await self._work(number, first)

        try:
            await self._run_node(self.records[number], work)
        except Exception:
            logger.exception("what runs step %s has failed; its work goes on", self.records[number].label)
        if not has_begun:
            await work()

    async def _work(self, number: int, first: Message) -> None:
        """Feed a node's messages to its step and route what it sends."""
        step, record, routes = self._steps[number], self.records[number], self._routes[number]
        inbox = _Inbox(first, self._channels[number], record)
        try:
            async with aclosing(run_step(step, inbox, self._context(number, step))) as sends:
                async for send in sends:
                    record.sent[send.output or ""] += 1
                    if targets := routes[send.output]:
                        message = Message(send.payload, send.environment or {})
                        for target in targets:
                            delay = self._delays[target] if send.delay is None else send.delay
                            await self._channels[target].put(message, delay)
        except Exception as error:
            logger.exception("step %s of recipe run %s has failed", record.label, self.recipe_run)
            record.failure = f"{type(error).__name__}: {error}"
            if inbox.current is not None:
                self._refuse(number, inbox.current, error)
            async for message in inbox:  # else the nodes that feed this one would wait for room for ever
                self._refuse(number, message, error)
        record.finished = time.time()

    def _context(self, number: int, step: Step) -> StepContext:
        record = self.records[number]
        loop, thread = asyncio.get_running_loop(), threading.get_ident()

        def refuse(message: Message, error: Exception) -> None:
            if threading.get_ident() == thread:
                self._refuse(number, message, error)
            else:
                loop.call_soon_threadsafe(self._refuse, number, message, error)

        def progress(done: int, expected: int | None) -> None:
            record.done, record.expected = done, expected

        return StepContext(
            node=self.recipe.nodes[number],
            recipe_run=self.recipe_run,
            resources=self._resources,
            refuse=refuse,
            progress=progress,
            logger=logging.LoggerAdapter(
                logging.getLogger(f"tasks.{step.name}"), {"recipe_run": self.recipe_run, "node": number}
            ),
        )

    def _refuse(self, number: int, message: Message, error: Exception) -> None:
        """Keep a message that a node can't use, and tell those who want to hear of it."""
        record = self.records[number]
        reason = f"{type(error).__name__}: {error}"
        logger.error("%s refuses a message: %s", record.label, reason)
        record.refused.append(Refusal(number, message.payload, reason))
        report = {"payload": message.payload, "error": reason, "node": number, "step": self._steps[number].name}
        for target in self._error_targets[number]:
            # without waiting for room, since a step can't wait here; what was refused is kept in memory anyway
            self._channels[target].post(Message(report, message.environment), self._delays[target])


def _delay(number: int, value: Any) -> float:
    try:
        delay = float(value or 0)
    except (TypeError, ValueError):
        delay = math.nan
    if not 0 <= delay < math.inf:
        raise RecipeError(f"node {number}: transport-delay {value!r}: expected seconds, 0 or more")
    return delay


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
