"""Where a run's messages change hands: each is numbered and written to the journal before it's delivered.

Sends are gathered until the event loop is free, or until there are many: a journal that is written for each message
would cost more than all else. What was gathered is written by one call, then delivered. So are messages that are done
without an answer.

Every message passes through here, so that a microsecond counts.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from flows.recipe.engine.answers import Answers
from flows.recipe.engine.channel import Channel
from flows.recipe.engine.routing import Routes
from flows.recipe.run_record.entries import (
    Done,
    Entry,
    Failed,
    LeftUndone,
    Noted,
    Receiver,
    Refused,
    Sent,
    SentMessage,
)
from flows.recipe.run_record.journal import Journal
from flows.recipe.run_record.run_state import RunState
from tasks.step import Message, Note, Send
from tasks.step.notes import Notes

GATHERED: Final = 64  # messages

Destination = tuple[int, Channel, float]
"""Where a message may go: a node, its inbox, and the node's `transport-delay`."""


class Exchange:
    """Numbers, records and delivers the messages of one run.

    Parameters
    ----------
    channels
        The inbox of each node.
    routes
        Where the outputs of each node lead.
    delays
        Each node's `transport-delay`, in seconds.
    environment
        That of the start's messages.
    journal
        Where all is written; None: nowhere, so that the run can't be resumed.
    """

    def __init__(
        self,
        channels: Mapping[int, Channel],
        routes: Mapping[int, Routes],
        delays: Mapping[int, float],
        environment: Mapping[str, Any],
        journal: Journal | None,
    ) -> None:
        self._destination_of: dict[int, Destination] = {node: (node, channels[node], delays[node]) for node in channels}
        self._destinations = {
            node: {output: self._destinations_of(targets) for output, targets in outputs.items()}
            for node, outputs in routes.items()
        }
        self._environment, self._journal = environment, journal
        self._next_number = itertools.count(1).__next__
        self._answers = Answers()
        self._gathered: list[tuple[Channel, Message, float]] = []
        self._done: defaultdict[int, list[int]] = defaultdict(list)
        self._done_in_silence: defaultdict[int, list[Message]] = defaultdict(list)
        self._unheard: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self._noted: defaultdict[int, Notes] = defaultdict(Notes)
        self._flushing: asyncio.Handle | None = None

    def restore(self, state: RunState) -> None:
        """Deliver what was waiting when the run's last process ended, and know what was sent already."""
        self._next_number = itertools.count(state.next_number).__next__
        now = time.time()
        for delivery in state.waiting.values():
            if delivery.again in state.answers:
                self._answers[delivery.number] = state.answers[delivery.again]
                self._answers.begin_anew(delivery.number)
            environment = self._environment if delivery.environment is None else delivery.environment
            message = Message(delivery.payload, environment, delivery.number, delivery.sent_at)
            _, channel, _ = self._destination_of[delivery.node]
            self._gathered.append((channel, message, (delivery.due or now) - now))

    def start(self, entries: Iterable[tuple[int, Any]]) -> None:
        """Send a recipe's start messages."""
        at = time.time()
        sends = [self._address(Send(payload), self._destinations_of([node]), at) for node, payload in entries]
        self._record(Sent(at, 0, sends))

    def send(
        self, node: int, sends: Sequence[Send], cause: Message | None, done: Sequence[int], count: Counter[str]
    ) -> Channel | None:
        """Send what a node has to send because of a message, and note what is done with it.

        Parameters
        ----------
        count
            Counts the sends by output.

        Returns
        -------
        Channel | None
            One that has no room left, if there is one: the node should wait for it.
        """
        at, outputs, gathered, answers = time.time(), self._destinations[node], self._gathered, self._answers
        sent: list[SentMessage] = []
        full, gathered_before = None, len(gathered)
        number = 0 if cause is None else cause.number
        try:
            for send in sends:
                output = send.output
                # A message that comes again is answered again: what was sent the first time is dropped
                destinations = outputs.get(output, ())
                if destinations and cause is not None:
                    if done:  # with the last of its answers: there's no need to know them any more
                        if number in answers and answers.was_sent(number, output):
                            continue
                    elif not answers.is_new(number, output):
                        continue
                count[output or ""] += 1
                if destinations:
                    sent.append(self._address(send, destinations, at, cause))
                    for _, channel, _ in destinations:
                        if channel.is_full:
                            full = channel
                else:
                    self._unheard[node][output or ""] += 1
            if sent and self._journal:
                # In one line of the journal: a crash can't part answers from the messages that are done with them
                self._journal.record(Sent(at, node, sent, done))
        except Exception:  # what can't be written shall not be delivered either
            del gathered[gathered_before:]
            raise
        if done and not sent:
            self._done[node] += done
        for finished in done:
            if finished in answers:
                answers.forget(finished)
        if self._flushing is None:
            self._flush_soon()
        if len(gathered) >= GATHERED:
            self.flush()
        return full

    def leave_undone(self, node: int, numbers: Sequence[int], reason: str, *, is_heard: bool) -> None:
        """Note messages that nothing more will come of before the run is taken up again; none: the node as a whole."""
        self._record_done()  # it stands before
        self._record(LeftUndone(time.time(), node, numbers, reason, is_heard))

    def note_done(self, node: int, done: Sequence[Message]) -> None:
        """Note messages that are done without an answer."""
        self._done_in_silence[node] += done
        self._flush_soon()

    def note(self, node: int, notes: Iterable[Note]) -> None:
        """Keep what a node says of its work, written together with what it's done with at the same time."""
        self._noted[node].add(*notes)
        self._flush_soon()

    def take_back(self, node: int) -> list[Message]:
        """Return what a node was done with without an answer, as far as it isn't recorded yet: it isn't done."""
        return self._done_in_silence.pop(node, [])

    def try_again(self, node: int, message: Message, error: str, pause_s: float) -> None:
        """Deliver a message to its node once more, after a pause."""
        self._answers.begin_anew(message.number)
        _, channel, _ = self._destination_of[node]
        self._gathered.append((channel, message, pause_s))
        self._record(Failed(time.time(), node, message.number, error))
        self.flush()  # now, lest the inbox be closed before the message is on its way

    def refuse(self, node: int, message: Message, error: str, report: Any, handlers: Sequence[int]) -> None:
        """Note that a message is refused for good, and send a report of it along error links.

        It's sent without waiting for room, since a step can't wait where it refuses.
        """
        at = time.time()
        destinations = self._destinations_of(handlers)
        sends = [self._address(Send(report, "error", message.environment), destinations, at)] if destinations else []
        self._record(Refused(at, node, message.number, error, sends))
        self._answers.forget(message.number)

    def flush(self) -> None:
        """Write what was gathered, then deliver it."""
        if self._flushing:
            self._flushing.cancel()
            self._flushing = None
        self._record_done()
        if self._journal:
            self._journal.flush()
        gathered, self._gathered = self._gathered, []
        for channel, message, delay in gathered:
            channel.post(message, delay)

    def _record_done(self) -> None:
        for node, messages in self._done_in_silence.items():
            self._done[node] += [message.number for message in messages]
            for message in messages:
                self._answers.forget(message.number)
        if self._journal:
            for node in self._done.keys() | self._unheard.keys():
                self._journal.record(Done(time.time(), node, self._done[node], dict(self._unheard[node])))
            for node, notes in self._noted.items():
                self._journal.record(Noted(time.time(), node, list(notes)))
        self._noted.clear()
        self._done.clear()
        self._done_in_silence.clear()
        self._unheard.clear()

    def _destinations_of(self, targets: Iterable[int]) -> tuple[Destination, ...]:
        return tuple(self._destination_of[target] for target in targets)

    def _address(
        self, send: Send, destinations: Sequence[Destination], at: float, cause: Message | None = None
    ) -> SentMessage:
        """Give a send's messages their numbers, gather them, and return what the journal says of them."""
        payload, environment, own_delay = send.payload, send.environment, send.delay
        if environment is None:
            environment = cause.environment if cause else self._environment
        to, gathered = [], self._gathered
        for target, channel, delay in destinations:
            if own_delay is not None:
                delay = own_delay
            number = self._next_number()
            if delay > 0:
                if delay == math.inf:
                    raise ValueError(f"node {target} would wait for ever: the message's delay is {delay}")
                to.append(Receiver(target, number, at + delay))
            else:
                to.append(Receiver(target, number))
            gathered.append((channel, Message(payload, environment, number, at), delay))
        return SentMessage(
            to,
            payload,
            send.output,
            None if cause is None else cause.number,
            None if environment is self._environment else environment,
        )

    def _record(self, entry: Entry) -> None:
        """Add to the journal, and see to it that this and what was gathered is written and delivered."""
        if self._journal:
            self._journal.record(entry)
        self._flush_soon()

    def _flush_soon(self) -> None:
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_soon(self.flush)
