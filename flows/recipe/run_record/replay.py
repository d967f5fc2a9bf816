"""What a journal says of a recipe run: which messages wait for which node, and how far each node has come."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

NUMBERS_LEFT_OUT: Final = 1_000_000


@dataclass(slots=True)
class Delivery:
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
        Its failures so far, `at` and `error` each, and what operators did about them.
    is_void
        The node that sent it has begun anew since.
    """

    number: int
    node: int
    source: int
    payload: Any
    environment: Mapping[str, Any] | None
    sent_at: float
    due: float | None
    again: int
    history: list[dict[str, Any]] = field(default_factory=list)
    is_void: bool = False


@dataclass
class Replay:
    """The state of a run after some entries of its journal.

    Parameters
    ----------
    waiting
        Messages that were neither done nor refused, by number, in the order in which they were sent.
    all
        All messages that were ever sent, by number.
    heard
        How many messages were sent on each output in answer to one that isn't done, by the first message of those
        with its content.
    """

    waiting: dict[int, Delivery] = field(default_factory=dict)
    all: dict[int, Delivery] = field(default_factory=dict)
    heard: defaultdict[int, Counter[str | None]] = field(default_factory=lambda: defaultdict(Counter))
    sent: defaultdict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    done: Counter[int] = field(default_factory=Counter)
    refused: defaultdict[int, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))
    ended: dict[str, Any] | None = None

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


def replay(entries: Iterable[Mapping[str, Any]]) -> Replay:
    """Go through a journal's entries (see `flows.recipe.run_record.journal`)."""
    state = Replay()
    for entry in entries:
        _take(state, entry)
    return state


def _take(state: Replay, entry: Mapping[str, Any]) -> None:
    if "began" in entry:
        state.ended = None
    if "ended" in entry:
        state.ended = entry["ended"]
    if "repeated" in entry:
        _repeat(state, set(entry["repeated"]))
    source, at = entry.get("node", 0), entry.get("at", 0.0)
    for send in entry.get("sends", ()):
        _send(state, source, at, send, is_answer_to_unfinished=not entry.get("done"))
    for number in entry.get("done", ()):
        if delivery := state.waiting.pop(number, None):
            state.done[source] += 1
            state.heard.pop(delivery.again, None)
    if "tried" in entry and entry["tried"] in state.all:
        state.all[entry["tried"]].history.append({"at": at, "error": entry.get("error")})
    if (refused := entry.get("refused")) in state.waiting:
        del state.waiting[refused]
        state.refused[source][refused] = entry.get("error", "")
        state.all[refused].history.append({"at": at, "error": entry.get("error")})


def _send(state: Replay, source: int, at: float, send: Mapping[str, Any], *, is_answer_to_unfinished: bool) -> None:
    output = send.get("output")
    again = send.get("again")
    for delivery in _deliveries(source, at, send):
        state.waiting[delivery.number] = state.all[delivery.number] = delivery
        if again is not None and again in state.all:
            delivery.history += send.get("history", state.all[again].history)
            replaced = send.get("replaces", again)  # it has another chance
            state.refused[delivery.node].pop(replaced, None)
            state.waiting.pop(replaced, None)
    state.sent[source][output or ""] += again is None
    cause = state.all.get(send.get("follows", 0))
    if is_answer_to_unfinished and cause is not None:
        state.heard[cause.again][output] += 1


def _repeat(state: Replay, nodes: set[int]) -> None:
    """Forget what some nodes did: all of it comes again."""
    state.waiting = {number: delivery for number, delivery in state.waiting.items() if delivery.node not in nodes}
    for node in nodes:
        state.sent.pop(node, None)
        state.refused.pop(node, None)
        del state.done[node]
    for delivery in state.all.values():
        delivery.is_void |= delivery.source in nodes
        if delivery.node in nodes:
            state.heard.pop(delivery.again, None)


def _deliveries(source: int, at: float, send: Mapping[str, Any]) -> Iterator[Delivery]:
    for node, number, *due in send["to"]:
        yield Delivery(
            number,
            node,
            source,
            send.get("payload"),
            send.get("environment"),
            at,
            due[0] if due else None,
            send.get("again") or number,
        )
