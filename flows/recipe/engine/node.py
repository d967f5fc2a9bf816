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
from dataclasses import dataclass, replace
from typing import Any, Final

from blocks.errors import NodeRefused
from flows.display_text import shortened
from flows.recipe.engine.channel import Channel
from flows.recipe.engine.exchange import Exchange
from flows.recipe.engine.outputs import Outputs
from flows.recipe.engine.routing import Routes
from flows.recipe.engine.undone import Undone
from flows.recipe.run_record.entries import HistoryEntry
from flows.recipe.run_record.progress import NodeProgress
from tasks.step import Message, Note, Send, Step, StepContext
from tasks.step.resources import Resources
from tasks.step.runner import Handled, read_parameters, run_step

logger = logging.getLogger(__name__)

FAULT_CHARACTERS: Final = 4000  # of what is said of a fault, which stands in logs and states
TRACEBACK_CHARACTERS: Final = 20_000  # of the end, where the fault is


@dataclass(frozen=True)
class RefusedMessage:
    """A message that is refused for good: by whom, why, and its failures before.

    Parameters
    ----------
    others
        How many more of its node wait with it, if it stands for all; None: it's refused by itself.
    """

    node: int
    step: Step
    message: Message
    error: str
    traceback: str
    history: Sequence[HistoryEntry]
    others: int | None = None


KeepDeadLetter = Callable[[RefusedMessage], None]
"""Keeps a refused message; one that stands for others once more, when it's known for how many."""


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
    routes
        Where its outputs lead.
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
        routes: Routes,
    ) -> None:
        self.number, self.node, self.step, self.progress = number, node, step, progress
        self._channel, self._exchange = channel, exchange
        self._error_targets, self._keep_dead_letter = error_targets, keep_dead_letter
        self._outputs = Outputs(step, routes)
        self._stands_for_all: RefusedMessage | None = None
        self._others: list[int] = []
        self._held: dict[int, Message] = {}
        self._undone = Undone(number, step, progress, exchange, self._outputs, self._held)
        self._failures: Counter[int] = Counter()
        self.history: defaultdict[int, list[HistoryEntry]] = defaultdict(list)
        self._taken = 0
        channel.on_take = self._take
        self._last_breakdown: str | None = None
        self._last_refusal: str | None = None

    async def work(self, recipe_run: str, resources: Resources) -> None:
        """Feed the step all messages of the inbox, to the inbox's end.

        A step that breaks loses what it holds to its retries or to the dead letters, and is started again for the rest.
        One that breaks after its inbox's end, such as a fan-in without its answer, loses it to one dead letter.
        What it doesn't speak of is left undone.
        """
        while await self._channel.has_more():
            context = self._context(recipe_run, resources)
            taken_before, self._channel.has_told_end = self._taken, False
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
                if self._held:  # what it has given up is tried again, or refused
                    self._undone.break_down()
                is_of_all = len(self._held) > 1 and self._channel.has_told_end
                for message in [*self._held.values()]:
                    self._refuse(message, error, is_of_all=is_of_all)
            else:
                self._undone.leave_held()
        self._leave_with_refused()
        self._undone.leave_told_of()
        self._undone.miss_answer()
        if self.progress.notes:
            logger.info("%s", "; ".join(self.progress.notes.lines()))

    def note_no_message(self) -> None:
        """Say what is missing, if anything is, where the run ended and no message ever came."""
        missing = self.step.without_messages
        if missing is None or self.progress.received:
            return
        try:
            reason = missing(read_parameters(self.step, self.node), self.node)
        except NodeRefused as error:  # there's no answer for its sake either
            reason = str(error)
        if reason:
            self._undone.note_without_answer(reason)

    def _take(self, message: Message) -> None:
        self._taken += 1
        self._held[message.number] = message
        if self._undone.given_up:
            self._undone.given_up.pop(message.number, None)  # tried again
        if message.number not in self._failures:
            self.progress.received += 1

    def _send(self, result: Send | Handled) -> Channel | None:
        """Pass on what the step sends; return an inbox that has no room left, if there is one."""
        sends: Sequence[Send]
        if isinstance(result, Send):
            sends, cause, completed = (result,), result.follows, result.completes
            if result.output not in self._outputs.usual and self._outputs.gives_up(result.output):
                return self._undone.give_up(result)
        else:
            sends, cause, completed = result.sends, result.message, (result.message,)
            is_usual = self._outputs.usual.issuperset([send.output for send in sends])
            if not is_usual and self._undone.gives_up_in_vain(sends):
                return self._undone.give_up_message(result)
        held, done = self._held, []
        for message in completed:
            if message.number in held:
                done.append(message.number)
        full = self._exchange.send(self.number, sends, cause, done, self.progress.sent)
        for number in done:
            held.pop(number, None)
        return full

    def _finish(self, messages: Iterable[Message]) -> None:
        done = [
            message
            for message in messages
            if message.number not in self._undone.given_up and self._held.pop(message.number, None) is not None
        ]
        if done:
            self._exchange.note_done(self.number, done)

    def _note(self, *notes: Note) -> None:
        self.progress.notes.add(*notes)
        self._exchange.note(self.number, notes)

    def _leave_with_refused(self) -> None:
        """Leave undone what waits with the message that was refused for all, and have its dead letter say how many."""
        if self._stands_for_all is not None and self._others:
            self._keep(replace(self._stands_for_all, others=len(self._others)))
            self._undone.note_left(self._others, f"they wait with message {self._stands_for_all.message.number}")
            self._others = []

    def _refuse(self, message: Message, error: BaseException, *, is_of_all: bool = False) -> None:
        """Try a message again later, or refuse it for good, with those that are refused for the same if it's of all."""
        if self._held.pop(message.number, None) is None:
            return  # done, or refused already
        failures, retries = self._failures[message.number] + 1, self.step.retries
        is_tried_again = retries.goes_on(error, failures)
        is_of_all |= isinstance(error, NodeRefused)
        if is_of_all and self._stands_for_all is not None and not is_tried_again:
            self._others.append(message.number)
            return
        fault = shortened(f"{type(error).__name__}: {error}", FAULT_CHARACTERS)
        history = self.history[message.number]
        history.append(HistoryEntry(time.time(), fault))
        self._failures[message.number] = failures
        if is_tried_again:
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
        refused = RefusedMessage(self.number, self.step, message, fault, trace, history)
        if is_of_all:
            self._stands_for_all = refused = replace(refused, others=0)
        self._keep(refused)
        if self._error_targets:
            self.progress.sent["error"] += 1
        report = {"payload": message.payload, "error": fault, "node": self.number, "step": self.step.name}
        self._exchange.refuse(self.number, message, fault, report, self._error_targets)

    def _keep(self, refused: RefusedMessage) -> None:
        try:
            self._keep_dead_letter(refused)
        except Exception:  # it's in the journal all the same, and the rest must go on
            logger.exception("message %d can't be kept as a dead letter", refused.message.number)

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
            leave_undone=_in_this_thread(self._undone.leave),
            note=_in_this_thread(self._note),
            noted_before=progress.notes.counts(),
            warned_before=progress.warned_before,
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
