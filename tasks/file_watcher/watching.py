"""The watch itself: look, tell, wait, until all items were seen or none came for too long."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal

from blocks.errors import MessageRefused
from tasks.file_watcher.logs import WatchLog
from tasks.file_watcher.parameters import WatchParameters, open_source
from tasks.file_watcher.selection import Notices
from tasks.file_watcher.sources import Source
from tasks.step import Message, Send, StepContext, stream_step

# Quick while items arrive; an idle watch costs next to nothing. Growing by a quarter keeps an item's delay below
# a quarter of the gap before it.
QUICKEST_POLL_S = 0.05
SLOWEST_POLL_S = 1.0
POLL_GROWTH = 1.25

Notice = tuple[str, dict[str, Any]]
Outcome = Literal["complete", "error", "timeout"]


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
        outputs: Notices,
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
        self._started = self._last_seen = self._clock.monotonic()

    async def notices(self) -> AsyncGenerator[Notice, None]:
        """Look until all items were seen, an item can't come, or none came for too long; then tell the outcome.

        Yields (output, payload) for the outputs that the node names.

        Raises
        ------
        MessageRefused
            The source turned out to be unusable.
        """
        try:
            async with aclosing(self._all_notices()) as notices:
                async for output, payload in notices:
                    if output in self._outputs.named:
                        yield output, payload
        finally:
            await self._source.close()

    async def _all_notices(self) -> AsyncGenerator[Notice, None]:
        if self._source.nothing_named:
            yield "finally", self._tally(expected=0) | {"success": True}
            return
        pause, outcome = QUICKEST_POLL_S, None
        while not outcome:
            found = await self._source.look(self._seen, self._parameters.burst_limit)
            for _ in range(found):
                for notice in self._tell_next():
                    yield notice
            if found:
                self._last_seen, pause = self._clock.monotonic(), QUICKEST_POLL_S
            self._log.looked(self._seen, found)
            outcome = self._outcome(found)
            if not outcome:
                await self._clock.sleep(self._delay(found, pause))
                pause = min(pause * POLL_GROWTH, SLOWEST_POLL_S)
        for notice in self._tell_outcome(outcome):
            yield notice

    def _tell_next(self) -> list[Notice]:
        expected = self._source.expected
        assert expected is not None, "items were found before their number was known"
        self._seen += 1
        self._progress(self._seen, expected)
        outputs = list(self._outputs.for_item(self._seen, expected))
        if not outputs:
            return []
        payload = self._source.item(self._seen) | {"file-seen-at": self._clock.epoch()}
        return [(output, payload) for output in outputs]

    def _outcome(self, found: int) -> Outcome | None:
        """Say how the watch ended; None while it goes on."""
        expected = self._source.expected
        if self._seen == expected:
            return "complete"
        if expected is not None and self._seen < expected and self._source.is_barred(self._seen + 1):
            return "error"
        return "timeout" if not found and self._clock.monotonic() >= self._deadline else None

    @property
    def _deadline(self) -> float:
        if self._seen:
            return self._last_seen + self._parameters.timeout
        return self._started + self._parameters.patience_first

    def _delay(self, found: int, pause: float) -> float:
        """Return the seconds until the next look."""
        if found:
            caught_up = found < self._parameters.burst_limit
            return max(self._parameters.burst_wait, pause if caught_up else 0)
        # Not past the deadline: the last look is then, not a second late.
        return min(max(self._parameters.burst_wait, pause), max(self._deadline - self._clock.monotonic(), 0))

    def _tell_outcome(self, outcome: Outcome) -> list[Notice]:
        now = self._clock.monotonic()
        self._log.ended(outcome, self._seen, took=now - self._started, quiet=now - self._last_seen)
        complete, tally = outcome == "complete", self._tally(self._source.expected)
        failure = [] if complete else [(str(outcome), self._source.missing(self._seen + 1) | {"success": False})]
        anything = [("any", tally)] if complete or self._seen else []
        return [*failure, *anything, ("finally", tally | {"success": complete})]

    def _tally(self, expected: int | None) -> dict[str, Any]:
        return {f"{self._source.noun}-expected": expected, f"{self._source.noun}-seen": self._seen}


@stream_step(
    queue="filewatcher",
    parameters=WatchParameters,
    outputs=("first", "every", "last", "any", "finally", "timeout", "error", "select-*", "every-*", "*"),
    default_output=None,
)
async def watch_files(
    parameters: WatchParameters, inbox: AsyncIterator[Message], context: StepContext
) -> AsyncIterator[Send]:
    """Watch for each message's files or images, and send a message for each that appears.

    Watches run one after the other: what to watch stands in the node, so a second message finds everything there
    already. Only outputs that the node names are sent on. See `tasks.file_watcher.parameters` for what can be watched.
    """
    async for message in inbox:
        try:
            outputs = Notices.of_output(context.node.get("output"))
            if not outputs.named:
                context.logger.warning("this file watcher has no named outputs, so nothing hears of what it sees")
            watch = Watch(open_source(parameters), outputs, parameters, context)
            async with aclosing(watch.notices()) as notices:
                async for output, payload in notices:
                    yield Send(payload, output, message.environment)
        except MessageRefused as error:
            context.refuse(message, error)
