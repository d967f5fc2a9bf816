"""What a journal says of a recipe run: what became of each message, and how far each node has come.

The one reading of a journal's entries: a run goes on from it, and it's what is shown of a run.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

import msgspec

from flows.recipe.run_record.entries import (
    Began,
    Done,
    Ended,
    Entry,
    Failed,
    HistoryEntry,
    LeftUndone,
    Noted,
    Refused,
    Repeated,
    Sent,
    SentMessage,
)
from tasks.step.notes import Notes

NUMBERS_LEFT_OUT: Final = 1_000_000


class MessageState(Enum):
    """What became of a message."""

    WAITING = "waits"
    FAILED = "failed, will be tried again"
    DONE = "done"
    REFUSED = "refused"
    LEFT_UNDONE = "undone, waits for the run to be taken up again"
    SENT_AGAIN = "sent again"
    FORGOTTEN = "forgotten: its node began anew"


class Delivery(msgspec.Struct):
    """A message that was sent to a node.

    Parameters
    ----------
    number
        Which message of the run.
    node, source
        Where it went, and the node that sent it (0: the start, or an operator).
    environment
        None: that of the start.
    sent_at, due
        When it was sent and, if that was later, when it was to be delivered; seconds since the epoch.
    again
        The first message of those that bring the same content once more; its own number otherwise.
    history
        Its failures so far, and what operators did about them.
    is_void
        The node that sent it has begun anew since.
    state, state_at, sent_again_as
        What became of it, since when if that isn't when it was sent, and the number under which it came once more.
    """

    number: int
    node: int
    source: int
    payload: Any
    environment: Mapping[str, Any] | None
    sent_at: float
    due: float | None
    again: int
    history: list[HistoryEntry]
    is_void: bool = False
    state: MessageState = MessageState.WAITING
    state_at: float | None = None
    sent_again_as: int | None = None

    def becomes(self, state: MessageState, at: float) -> None:
        """Note what became of it."""
        self.state, self.state_at = state, at


@dataclass(frozen=True)
class Attempt:
    """A process that carried the run out; `ended` is None if it was killed, or is at work."""

    began: Began
    ended: Ended | None = None


@dataclass
class RunState:
    """The state of a run after some entries of its journal.

    Parameters
    ----------
    waiting
        Messages that were neither done nor refused, by number, in the order in which they were sent; those that were
        left undone, too.
    all
        All messages that were ever sent, by number.
    answers
        How many messages were sent on each output in answer to one that isn't done, by the first message of those
        with its content.
    sent, done, retried
        How many messages each node sent on each output, how many it was done with, and how often it will have tried
        one again.
    refused
        The errors of messages that each node refused, by number.
    left
        What each node said of the messages that it left undone, by number, unless the run was taken up since.
    notes
        What each node noted of its work.
    warnings
        What any node has warned of, in its notes; also what nodes did that have begun anew since.
    without_answer
        Nodes that gave no answer, and hold no message that would come again: why.
    attempts
        The processes that had the run, in order.
    ended
        The run's end, unless it was taken up again since.
    """

    waiting: dict[int, Delivery] = field(default_factory=dict)
    all: dict[int, Delivery] = field(default_factory=dict)
    answers: defaultdict[int, Counter[str | None]] = field(default_factory=lambda: defaultdict(Counter))
    sent: defaultdict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    done: Counter[int] = field(default_factory=Counter)
    retried: Counter[int] = field(default_factory=Counter)
    refused: defaultdict[int, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))
    left: defaultdict[int, dict[int, LeftUndone]] = field(default_factory=lambda: defaultdict(dict))
    notes: defaultdict[int, Notes] = field(default_factory=lambda: defaultdict(Notes))
    warnings: Notes = field(default_factory=Notes)
    without_answer: dict[int, str] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    ended: Ended | None = None

    @property
    def next_number(self) -> int:
        """A number that no message has had: far beyond the last, as the end of the journal may be lost.

        The disk was full, say, or the machine lost its power. A number that meant another message then would have a
        ledger take this one for done.
        """
        return max(self.all, default=0) + NUMBERS_LEFT_OUT

    def received(self, node: int) -> int:
        """How many messages a node is done with, in one way or the other."""
        return self.done[node] + len(self.refused[node])

    def take(self, entry: Entry) -> None:
        """Go on with the next entry of the journal."""
        match entry:
            case Sent():
                self._send(entry.node, entry.at, entry.sends, are_answers_to_unfinished=not entry.done)
                self._finish(entry.node, entry.at, entry.done)
            case Done():
                self._finish(entry.node, entry.at, entry.done)
                if entry.unheard:
                    self.sent[entry.node].update(entry.unheard)
            case Failed():
                self._fail(entry)
            case Refused():
                self._send(entry.node, entry.at, entry.sends)
                self._refuse(entry)
            case LeftUndone():
                self._leave(entry)
            case Noted():
                self.notes[entry.node].add(*entry.notes)
                self.warnings.add(*(note for note in entry.notes if note.is_warning))
            case Repeated():
                self._repeat(entry)
                self._send(0, entry.at, entry.sends)
            case Began():
                self.attempts.append(Attempt(entry))
                self.ended = None
                self._bring_back(entry.at)
            case Ended():
                if self.attempts:  # the line in which it began may be spoilt
                    self.attempts[-1] = Attempt(self.attempts[-1].began, entry)
                self.ended = entry

    def _send(
        self, source: int, at: float, sends: Sequence[SentMessage], *, are_answers_to_unfinished: bool = False
    ) -> None:
        for send in sends:
            again = send.again
            for receiver in send.to:
                number = receiver.number
                delivery = Delivery(
                    number,
                    receiver.node,
                    source,
                    send.payload,
                    send.environment,
                    at,
                    receiver.due,
                    number if again is None else again,
                    [],
                )
                self.waiting[number] = self.all[number] = delivery
                if again is not None and again in self.all:
                    self._give_another_chance(delivery, send, at)
            if again is None:  # sent once more, a message counts once
                self.sent[source][send.output or ""] += 1
            if are_answers_to_unfinished and send.follows is not None:
                cause = self.all.get(send.follows)
                if cause is not None:
                    self.answers[cause.again][send.output] += 1

    def _give_another_chance(self, delivery: Delivery, send: SentMessage, at: float) -> None:
        """Have a message that is sent once more take the place of the one that brought its content before."""
        delivery.history += self.all[delivery.again].history if send.history is None else send.history
        number = delivery.again if send.replaces is None else send.replaces
        self.refused[delivery.node].pop(number, None)
        self.waiting.pop(number, None)
        if replaced := self.all.get(number):
            replaced.becomes(MessageState.SENT_AGAIN, at)
            replaced.sent_again_as = delivery.number

    def _finish(self, node: int, at: float, done: Sequence[int]) -> None:
        for number in done:
            if delivery := self.waiting.pop(number, None):
                delivery.becomes(MessageState.DONE, at)
                self.done[node] += 1
                self.answers.pop(delivery.again, None)

    def _fail(self, entry: Failed) -> None:
        if delivery := self.all.get(entry.number):
            delivery.becomes(MessageState.FAILED, entry.at)
            delivery.history.append(HistoryEntry(entry.at, entry.error))
            self.retried[entry.node] += 1

    def _refuse(self, entry: Refused) -> None:
        if delivery := self.waiting.pop(entry.number, None):
            delivery.becomes(MessageState.REFUSED, entry.at)
            delivery.history.append(HistoryEntry(entry.at, entry.error))
            self.refused[entry.node][entry.number] = entry.error

    def _leave(self, entry: LeftUndone) -> None:
        if not entry.left:
            self.without_answer[entry.node] = entry.reason
        for number in entry.left:
            if delivery := self.waiting.get(number):
                delivery.becomes(MessageState.LEFT_UNDONE, entry.at)
                self.left[entry.node][number] = entry

    def _bring_back(self, at: float) -> None:
        """Note that what was left undone is delivered again."""
        for numbers in self.left.values():
            for number in numbers:
                if delivery := self.waiting.get(number):
                    delivery.becomes(MessageState.WAITING, at)
        self.left.clear()
        # Where a node is done with messages, these don't come again: its answer stays missing until it begins anew
        self.without_answer = {node: why for node, why in self.without_answer.items() if self.done[node]}

    def _repeat(self, entry: Repeated) -> None:
        """Forget what some nodes did: all of it comes again."""
        nodes = set(entry.nodes)
        self.waiting = {number: delivery for number, delivery in self.waiting.items() if delivery.node not in nodes}
        for node in nodes:
            self.sent.pop(node, None)
            self.refused.pop(node, None)
            self.left.pop(node, None)
            self.without_answer.pop(node, None)
            self.notes.pop(node, None)
            del self.done[node], self.retried[node]
        for delivery in self.all.values():
            delivery.is_void |= delivery.source in nodes
            if delivery.node in nodes:
                self.answers.pop(delivery.again, None)
                delivery.becomes(MessageState.FORGOTTEN, entry.at)


def replay(entries: Iterable[Entry]) -> RunState:
    """Return the state of a run after all entries of its journal."""
    state = RunState()
    for entry in entries:
        state.take(entry)
    return state
