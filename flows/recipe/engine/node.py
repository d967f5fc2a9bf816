"""One node of a run at work: its messages go to its step, what the step sends is handed on, faults are dealt with."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from flows.recipe.engine.channel import Channel
from flows.recipe.engine.exchange import Exchange
from flows.recipe.run_record.entries import HistoryEntry
from flows.recipe.run_record.progress import NodeProgress
from tasks.step import Message, Send, Step, StepContext
from tasks.step.resources import Resources
from tasks.step.runner import Handled, run_step

logger = logging.getLogger(__name__)

TRACEBACK_CHARACTERS: Final = 20_000  # of the end, where the fault is


@dataclass(frozen=True)
class RefusedMessage:
    """A message that is refused for good: by whom, why, and its failures before."""

    node: int
    step: Step
    message: Message
    error: str
    traceback: str
    history: Sequence[HistoryEntry]


KeepDeadLetter = Callable[[RefusedMessage], None]


class NodeRun:
    """A node at work.

    Parameters
    ----------
    node
        The recipe's node, filled in.
    error_targets
        Nodes that receive a report of each message that this one refuses.
    keep_dead_letter
        Keeps such a message, before the journal says that it's refused.
    """

    def __init__(
        self,
        number: int,
        node: Mapping[str, Any],
        step: Step,
        progress: NodeProgress,
        channel: Channel,
        exchange: Exchange,
        error_targets: Sequence[int],
        keep_dead_letter: KeepDeadLetter,
    ) -> None:
        self.number, self.node, self.step, self.progress = number, node, step, progress
        self._channel, self._exchange = channel, exchange
        self._error_targets, self._keep_dead_letter = error_targets, keep_dead_letter
        self._held: dict[int, Message] = {}
        self._failures: Counter[int] = Counter()
        self.history: defaultdict[int, list[HistoryEntry]] = defaultdict(list)
        self._taken = 0
        channel.on_take = self._take
        self._last_breakdown: str | None = None
        self._last_refusal: str | None = None

    async def work(self, recipe_run: str, resources: Resources) -> None:
        """Feed the step all messages of the inbox, to the inbox's end.

        A step that breaks loses what it holds to its retries or to the dead letters, and is started again for the rest.
        """
        while await self._channel.has_more():
            context = self._context(recipe_run, resources)
            taken_before = self._taken
            try:
                async with aclosing(run_step(self.step, self._channel, context)) as results:
                    async for result in results:
                        if full := self._send(result):
                            await full.has_room()
                if self._taken == taken_before:
                    raise RuntimeError(f"the step {self.step.name} has ended without taking its messages")
            # SystemExit too, or a step that calls sys.exit() would end the process. CancelledError too: a step may have
            # awaited a task of its own that was cancelled; its node would end, and what it feeds wait for ever
            except (Exception, SystemExit, asyncio.CancelledError) as error:
                if _is_being_cancelled():  # whatever the step says to that: it isn't the messages' fault
                    raise asyncio.CancelledError from error
                if str(error) != self._last_breakdown:  # the same again would only hide what else there is
                    logger.exception("step %s of recipe run %s has failed", self.progress.label, recipe_run)
                self._last_breakdown = str(error)
                if self._taken == taken_before:  # one message is taken all the same, or this would go on for ever
                    await anext(self._channel)
                for message in [*self._held.values()]:
                    self._refuse(message, error)
            else:
                self._finish([*self._held.values()])

    def _take(self, message: Message) -> None:
        self._taken += 1
        self._held[message.number] = message
        if message.number not in self._failures:
            self.progress.received += 1

    def _send(self, result: Send | Handled) -> Channel | None:
        """Pass on what the step sends; return an inbox that has no room left, if there is one."""
        sends: Sequence[Send]
        if isinstance(result, Send):
            sends, cause, completed = (result,), result.follows, result.completes
        else:
            sends, cause, completed = result.sends, result.message, (result.message,)
        held, done = self._held, []
        for message in completed:
            if message.number in held:
                done.append(message.number)
        full = self._exchange.send(self.number, sends, cause, done, self.progress.sent)
        for number in done:
            held.pop(number, None)
        return full

    def _finish(self, messages: Iterable[Message]) -> None:
        done = [message.number for message in messages if self._held.pop(message.number, None) is not None]
        if done:
            self._exchange.note_done(self.number, done)

    def _refuse(self, message: Message, error: BaseException) -> None:
        """Try a message again later, or refuse it for good."""
        if self._held.pop(message.number, None) is None:
            return  # done, or refused already
        fault = f"{type(error).__name__}: {error}"
        history = self.history[message.number]
        history.append(HistoryEntry(time.time(), fault))
        self._failures[message.number] += 1
        failures, retries = self._failures[message.number], self.step.retries
        if failures < retries.tries and retries.may_pass(error):
            pause_s = retries.pause_s(failures)
            self.progress.retried += 1
            logger.warning(
                "message %d failed (try %d of %d), again in %.1f s: %s",
                *(message.number, failures, retries.tries, pause_s, fault),
            )
            self._exchange.try_again(self.number, message, fault, pause_s)
            return
        # Thousands of images of one bad file are refused in the same words: one line says so, each has its dead letter
        level = logging.DEBUG if fault == self._last_refusal else logging.ERROR
        logger.log(level, "message %d is refused: %s", message.number, fault)
        self._last_refusal = fault
        self.progress.refuse(fault)
        trace = "".join(traceback.format_exception(error))[-TRACEBACK_CHARACTERS:]
        try:
            self._keep_dead_letter(RefusedMessage(self.number, self.step, message, fault, trace, history))
        except Exception:  # it's in the journal all the same, and the rest must go on
            logger.exception("message %d can't be kept as a dead letter", message.number)
        if self._error_targets:
            self.progress.sent["error"] += 1
        report = {"payload": message.payload, "error": fault, "node": self.number, "step": self.step.name}
        self._exchange.refuse(self.number, message, fault, report, self._error_targets)

    def _context(self, recipe_run: str, resources: Resources) -> StepContext:
        progress, done_before = self.progress, self.progress.done

        def report_progress(done: int, expected: int | None) -> None:
            progress.done, progress.expected = done if expected else done_before + done, expected

        return StepContext(
            node=self.node,
            recipe_run=recipe_run,
            resources=resources,
            refuse=_in_this_thread(self._refuse),
            progress=report_progress,
            done=_in_this_thread(lambda message: self._finish([message])),
            sent_before=dict(progress.sent),
            logger=logging.getLogger(f"tasks.{self.step.name}"),
        )


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _in_this_thread(function: Callable[..., None]) -> Callable[..., None]:
    """Let a function of the event loop be called from other threads too."""
    loop, thread = asyncio.get_running_loop(), threading.get_ident()

    def call(*args: Any) -> None:
        if threading.get_ident() == thread:
            function(*args)
        else:
            loop.call_soon_threadsafe(function, *args)

    return call
