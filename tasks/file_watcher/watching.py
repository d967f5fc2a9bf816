"""The watch itself: look, tell, wait, until all items were seen or none came for too long."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Literal

from blocks.errors import MessageRefused
from tasks.file_watcher.logs import WatchLog
from tasks.file_watcher.parameters import WatchParameters, open_source
from tasks.file_watcher.selection import NamedOutputs
from tasks.file_watcher.sources import Source
from tasks.step import Message, NodePlan, Send, StepContext, stream_step

# Quick while items arrive; an idle watch costs next to nothing. Growing by a twentieth keeps an item's delay below
# a twentieth of the gap before it, or the quickest poll.
QUICKEST_POLL_S = 0.05
SLOWEST_POLL_S = 1.0
POLL_GROWTH = 1.05

Outcome = Literal["complete", "error", "timeout"]


@dataclass(frozen=True, slots=True)
class Notice:
    """What a watch sends on an output; the last one of the watch says so, if an output is for its end."""

    output: str
    payload: dict[str, Any]
    is_last: bool = False


@dataclass(frozen=True)
class Clock:
    """Time as the watcher needs it; tests bring their own."""

    monotonic: Callable[[], float] = time.monotonic
    epoch: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Watch:
    """One watch of one source."""

    def __init__(
        self,
        source: Source,
        outputs: NamedOutputs,
        parameters: WatchParameters,
        context: StepContext,
        clock: Clock | None = None,
    ) -> None:
        self._source = source
        self._outputs = outputs
        self._parameters = parameters
        self._progress = context.progress
        self._clock = clock or Clock()
        self._log = WatchLog(source, parameters, context.logger)
        self._seen = 0
        self._outcome: Outcome | None = None
        self._started = self._last_seen = self._clock.monotonic()

    async def notices(self) -> AsyncGenerator[Notice, None]:
        """Look until all items were seen, an item can't come, or none came for too long; then tell the outcome.

        It is sent on outputs that the node names only. Which items are sent on which, and in what order, follows from
        how many there will be: another watch of the same source sends the same on each, item by item.

        Raises
        ------
        MessageRefused
            The source turned out to be unusable.
        """
        try:
            async with aclosing(self._items()) as items:
                async for notice in items:
                    yield notice
            end = [notice for notice in self._last_notices() if notice.output in self._outputs.named]
            for notice in end:
                yield replace(notice, is_last=notice is end[-1])
        finally:
            await self._source.close()

    async def _items(self) -> AsyncGenerator[Notice, None]:
        """Tell of each item, until the outcome is known."""
        pause = QUICKEST_POLL_S
        while not self._source.nothing_named:
            found = await self._source.look(self._seen, self._parameters.burst_limit)
            for _ in range(found):
                for notice in self._next_notices():
                    yield notice
            if found:
                self._last_seen, pause = self._clock.monotonic(), QUICKEST_POLL_S
            self._log.looked(self._seen, found)
            self._outcome = self._find_outcome(found)
            if self._outcome:
                return
            await self._clock.sleep(self._delay(found, pause))
            pause = min(pause * POLL_GROWTH, SLOWEST_POLL_S)

    def _next_notices(self) -> list[Notice]:
        expected = self._source.expected
        assert expected is not None, "items were found before their number was known"
        self._seen += 1
        self._progress(self._seen, expected)
        outputs = list(self._outputs.for_item(self._seen, expected))
        if not outputs:
            return []
        payload = self._source.item(self._seen) | {"file-seen-at": self._clock.epoch()}
        return [Notice(output, payload) for output in outputs]

    def _find_outcome(self, found: int) -> Outcome | None:
        """Say how the watch ended; None while it goes on."""
        expected = self._source.expected
        if self._seen == expected:
            return "complete"
        if expected is not None and self._seen < expected and self._source.is_barred(self._seen + 1):
            return "error"
        # As in Zocalo, a look that found something never times out: there may be more.
        return "timeout" if not found and self._clock.monotonic() >= self._deadline else None

    @property
    def _deadline(self) -> float:
        if self._seen:
            return self._last_seen + self._parameters.timeout
        return self._started + self._parameters.patience_first

    def _delay(self, found: int, pause: float) -> float:
        """Return the seconds until the next look."""
        if found:
            # Of a full burst there may be more: then without a pause, unless the recipe wants one.
            caught_up = found < self._parameters.burst_limit
            return max(self._parameters.burst_wait, pause if caught_up else 0)
        # Not past the deadline: the last look is then, not a second late.
        return min(max(self._parameters.burst_wait, pause), max(self._deadline - self._clock.monotonic(), 0))

    def _last_notices(self) -> list[Notice]:
        outcome = self._outcome
        if outcome is None:  # there was nothing to watch for
            return [Notice("finally", self._counts(expected=0) | {"success": True})]
        now = self._clock.monotonic()
        self._log.ended(outcome, self._seen, took=now - self._started, quiet=now - self._last_seen)
        complete, counts = outcome == "complete", self._counts(self._source.expected)
        missing = [] if complete else [Notice(outcome, self._source.missing(self._seen + 1) | {"success": False})]
        anything = [Notice("any", counts)] if complete or self._seen else []
        return [*missing, *anything, Notice("finally", counts | {"success": complete})]

    def _counts(self, expected: int | None) -> dict[str, Any]:
        return {f"{self._source.noun}-expected": expected, f"{self._source.noun}-seen": self._seen}


def check_watch(parameters: WatchParameters, plan: NodePlan) -> None:
    """Refuse a node that names nothing to watch, or outputs that select nothing."""
    open_source(parameters)
    NamedOutputs.of_output(plan.node.get("output"))


@stream_step(
    queue="filewatcher",
    parameters=WatchParameters,
    outputs=("first", "every", "last", "any", "finally", "timeout", "error", "select-*", "every-*", "*"),
    default_output=None,  # as in Zocalo: a watcher without named outputs tells nobody
    check=check_watch,
    only_sends=True,
)
async def watch_files(
    parameters: WatchParameters, inbox: AsyncIterator[Message], context: StepContext
) -> AsyncIterator[Send]:
    """Watch for each message's files or images, and send a message for each that appears.

    Watches run one after the other: what to watch stands in the node, so a second message finds everything there
    already. Only outputs that the node names are sent on. See `tasks.file_watcher.parameters` for what can be watched.

    A watch that was interrupted starts again from its first item, and sends the same in the same order.
    """
    async for message in inbox:
        is_done = False
        try:
            outputs = NamedOutputs.of_output(context.node.get("output"))
            if not outputs.named:
                context.logger.warning("this file watcher has no named outputs, so what it sees is sent to nobody")
            watch = Watch(open_source(parameters), outputs, parameters, context)
            async with aclosing(watch.notices()) as notices:
                async for notice in notices:
                    is_done = notice.is_last
                    completes = (message,) if is_done else ()
                    yield Send(notice.payload, notice.output, follows=message, completes=completes)
            if not is_done:
                context.done(message)
        except MessageRefused as error:
            context.refuse(message, error)
