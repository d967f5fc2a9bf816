"""Run a filled-in recipe: every node a task of its own, joined by bounded channels. Knows nothing of Prefect.

A node starts at its first message and finishes when all that feed it have finished and its inbox is empty;
a node that gets no message doesn't run. Messages that a step refuses are kept with their reason and go along the
error links of node and recipe; the rest go on.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from blocks.errors import RecipeError
from flows.recipe.engine.channel import Channel
from flows.recipe.engine.exchange import Exchange
from flows.recipe.engine.node import KeepDeadLetter, NodeRun, RefusedMessage
from flows.recipe.engine.routing import Routes, error_targets
from flows.recipe.language.recipe import Recipe
from flows.recipe.run_record.journal import Journal
from flows.recipe.run_record.progress import NodeProgress
from flows.recipe.run_record.run_state import RunState
from tasks.step.identity import StepIdentity, acting_for, current_identity
from tasks.step.registry import load_step, queue_of
from tasks.step.resources import Resources

logger = logging.getLogger(__name__)


class NodeRunner(Protocol):
    """Wraps the work of a node, from its first message on: the Prefect flow makes a task run of it."""

    def __call__(self, progress: NodeProgress, work: Callable[[], Awaitable[None]], /) -> Awaitable[None]:
        """Do the work of a node."""
        ...


async def _run_bare(progress: NodeProgress, work: Callable[[], Awaitable[None]]) -> None:
    await work()


def _keep_nothing(refused: RefusedMessage) -> None:
    """Keep nothing of a refused message but what the progress says."""


class RecipeRun:
    """One run of a recipe.

    Parameters
    ----------
    recipe
        With its placeholders filled.
    recipe_run
        Its id.
    resources
        Connections that the steps share.
    run_node
        Wraps each node's work. If it fails, the work is done all the same.
    journal
        Where the run's messages are recorded; without one it can't be resumed.
    keep_dead_letter
        Keeps messages that are refused.
    recipe_id
        Zocalo's recipe ID: in every message's environment as `ID`; None: the run's id is.

    Raises
    ------
    UnknownStep
        A node names a queue or service that no step serves: before anything runs.
    RecipeError
        A transport delay is no number of seconds.
    """

    def __init__(
        self,
        recipe: Recipe,
        recipe_run: str,
        resources: Resources,
        run_node: NodeRunner = _run_bare,
        journal: Journal | None = None,
        keep_dead_letter: KeepDeadLetter = _keep_nothing,
        recipe_id: str | None = None,
    ) -> None:
        self.recipe, self.recipe_run = recipe, recipe_run
        self._resources, self._run_node = resources, run_node
        steps = {number: load_step(queue_of(number, node)) for number, node in recipe.nodes.items()}
        self._routes = {
            number: Routes(node.get("output"), steps[number].default_output) for number, node in recipe.nodes.items()
        }
        self._error_targets = error_targets(recipe)
        delays = {number: _delay(number, node.get("transport-delay")) for number, node in recipe.nodes.items()}
        feeders = Counter(target for number in recipe.nodes for target in self._fed_by(number))
        self._channels = {number: Channel(feeders[number] + 1) for number in recipe.nodes}  # the start feeds them too
        self._exchange = Exchange(self._channels, self._routes, delays, {"ID": recipe_id or recipe_run}, journal)
        self.progress = {
            number: NodeProgress(number, f"{number} · {steps[number].name}") for number in sorted(recipe.nodes)
        }
        self._nodes = {
            number: NodeRun(
                number,
                node,
                steps[number],
                self.progress[number],
                self._channels[number],
                self._exchange,
                self._error_targets[number],
                keep_dead_letter,
                self._routes[number],
            )
            for number, node in recipe.nodes.items()
        }

    async def run(self, state: RunState | None = None) -> Mapping[int, NodeProgress]:
        """Run all nodes to their end and return what each did.

        Parameters
        ----------
        state
            How far earlier processes came with this run: what was done isn't done again.
        """
        if state is None:
            self._exchange.start(self.recipe.start)
        else:
            self._restore(state)
        try:
            async with asyncio.TaskGroup() as group:
                for number in self.recipe.nodes:
                    group.create_task(self._node(number), name=self.progress[number].label)
                self._exchange.flush()  # first, or inboxes would close without the start's messages
                for channel in self._channels.values():
                    channel.feeder_finished()
        finally:
            self._exchange.flush()
            for channel in self._channels.values():
                channel.cancel()
        return self.progress

    def _restore(self, state: RunState) -> None:
        for progress in self.progress.values():
            progress.restore(state)
        for delivery in state.waiting.values():
            self._nodes[delivery.node].history[delivery.number] += delivery.history
        self._exchange.restore(state)

    def _fed_by(self, number: int) -> set[int]:
        return self._routes[number].targets() | set(self._error_targets[number])

    async def _node(self, number: int) -> None:
        """Wait for a node's first message, run it, and close what it feeds."""
        progress = self.progress[number]
        if await self._channels[number].has_more():
            progress.started = time.time()
            run = current_identity() or StepIdentity(self.recipe_run, recipe="")
            with acting_for(replace(run, node=number, step=self._nodes[number].step.name)):
                await self._run_wrapped(number)
        else:
            self._nodes[number].note_no_message()
        progress.finished = time.time()
        self._exchange.flush()
        for target in self._fed_by(number):
            self._channels[target].feeder_finished()

    async def _run_wrapped(self, number: int) -> None:
        """Do a node's work inside of what wraps it, or without that if it fails: the work is what counts."""
        has_begun = False

        async def work() -> None:
            nonlocal has_begun
            has_begun = True
            await self._nodes[number].work(self.recipe_run, self._resources)
            self.progress[number].finished = time.time()

        try:
            await self._run_node(self.progress[number], work)
        except Exception:  # Prefect's API is away, say
            logger.exception("what runs step %s has failed; its work goes on", self.progress[number].label)
        if not has_begun:
            await work()


def _delay(number: int, value: Any) -> float:
    try:
        delay = float(value or 0)
    except (TypeError, ValueError):
        delay = math.nan
    if not 0 <= delay < math.inf:
        raise RecipeError(f"node {number}: transport-delay {value!r}: expected seconds, 0 or more")
    return delay
