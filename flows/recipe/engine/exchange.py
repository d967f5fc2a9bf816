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

from flows.recipe.engine.channel import Channel
from flows.recipe.engine.routing import Routes
from flows.recipe.run_record.journal import Journal
from flows.recipe.run_record.replay import Replay
from tasks.step import Message, Send

GATHERED: Final = 64  # messages

Way = tuple[int, Channel, float]
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
        self._entrances: dict[int, Way] = {node: (node, channels[node], delays[node]) for node in channels}
        self._ways = {
            node: {output: self._ways_to(targets) for output, targets in outputs.items()}
            for node, outputs in routes.items()
        }
        self._environment, self._journal = environment, journal
        self._numbers = itertools.count(1)
        self._heard: defaultdict[int, Counter[str | None]] = defaultdict(Counter)  # of messages that aren't done
        self._to_drop: dict[int, Counter[str | None]] = {}
        self._gathered: list[tuple[Channel, Message, float]] = []
        self._done: defaultdict[int, list[int]] = defaultdict(list)
        self._flushing: asyncio.Handle | None = None

    def restore(self, state: Replay) -> None:
        """Deliver what was waiting when the run's last process ended, and know what was sent already."""
        self._numbers = itertools.count(state.next_number)
        now = time.time()
        for delivery in state.waiting.values():
            if delivery.again in state.heard:
                self._heard[delivery.number] = state.heard[delivery.again]
                self._begin_anew(delivery.number)
            environment = self._environment if delivery.environment is None else delivery.environment
            message = Message(delivery.payload, environment, delivery.number, delivery.sent_at)
            _, channel, _ = self._entrances[delivery.node]
            self._gathered.append((channel, message, (delivery.due or now) - now))

    def start(self, entries: Iterable[tuple[int, Any]]) -> None:
        """Send a recipe's start messages."""
        at = time.time()
        sends = [self._address(Send(payload), self._ways_to([node]), at) for node, payload in entries]
        self._record({"at": at, "node": 0, "sends": sends})

    def hand_on(
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
        at, outputs, gathered = time.time(), self._ways[node], self._gathered
        sent: list[dict[str, Any]] = []
        full, gathered_before = None, len(gathered)
        try:
            for send in sends:
                output = send.output
                ways = outputs.get(output, ())
                if ways and not done and send.follows is not None and not self._is_news(send.follows.number, output):
                    continue
                count[output or ""] += 1
                if ways:
                    sent.append(self._address(send, ways, at, cause))
                    for _, channel, _ in ways:
                        if channel.is_full:
                            full = channel
            if sent and self._journal:
                self._journal.record({"at": at, "node": node, "sends": sent, "done": done})
        except Exception:  # what can't be written shall not be delivered either
            del gathered[gathered_before:]
            raise
        if done and not sent:
            self._done[node] += done
        for number in done:
            if number in self._heard:
                self._forget(number)
        if self._flushing is None:
            self._flush_soon()
        if len(gathered) >= GATHERED:
            self.flush()
        return full

    def note_done(self, node: int, done: Sequence[int]) -> None:
        """Note messages that are done without an answer."""
        self._done[node] += done
        for number in done:
            self._forget(number)
        self._flush_soon()

    def try_again(self, node: int, message: Message, error: str, pause_s: float) -> None:
        """Deliver a message to its node once more, after a pause."""
        self._begin_anew(message.number)
        _, channel, _ = self._entrances[node]
        self._gathered.append((channel, message, pause_s))
        self._record({"at": time.time(), "node": node, "tried": message.number, "error": error})
        self.flush()  # now, lest the inbox be closed before the message is on its way

    def refuse(self, node: int, message: Message, error: str, report: Any, handlers: Sequence[int]) -> None:
        """Note that a message is given up, and tell the nodes that error links lead to.

        They are told without waiting for room, since a step can't wait where it refuses.
        """
        at = time.time()
        ways = self._ways_to(handlers)
        sends = [self._address(Send(report, "error", message.environment), ways, at)] if ways else []
        self._record({"at": at, "node": node, "refused": message.number, "error": error, "sends": sends})
        self._forget(message.number)

    def flush(self) -> None:
        """Write what was gathered, then deliver it."""
        if self._flushing:
            self._flushing.cancel()
            self._flushing = None
        if self._journal:
            for node, done in self._done.items():
                self._journal.record({"at": time.time(), "node": node, "done": done})
            self._journal.flush()
        self._done.clear()
        gathered, self._gathered = self._gathered, []
        for channel, message, delay in gathered:
            channel.post(message, delay)

    def _ways_to(self, targets: Iterable[int]) -> tuple[Way, ...]:
        return tuple(self._entrances[target] for target in targets)

    def _is_news(self, number: int, output: str | None) -> bool:
        """Tell whether a step hasn't sent this before, when it had the message of this number for the last time."""
        if (to_drop := self._to_drop.get(number)) and to_drop[output]:
            to_drop[output] -= 1
            return False
        self._heard[number][output] += 1
        return True

    def _begin_anew(self, number: int) -> None:
        """Expect a step to send again what it has sent in answer to a message that it wasn't done with."""
        if number in self._heard:
            self._to_drop[number] = Counter(self._heard[number])

    def _forget(self, number: int) -> None:
        """Forget what was heard of a message that is done."""
        self._heard.pop(number, None)
        self._to_drop.pop(number, None)

    def _address(self, send: Send, ways: Sequence[Way], at: float, cause: Message | None = None) -> dict[str, Any]:
        """Give a send's messages their numbers, gather them, and return what the journal says of them."""
        payload, environment, own_delay = send.payload, send.environment, send.delay
        if environment is None:
            environment = cause.environment if cause else self._environment
        to: list[tuple[int, int] | tuple[int, int, float]] = []
        for target, channel, delay in ways:
            if own_delay is not None:
                delay = own_delay
            number = next(self._numbers)
            if delay > 0:
                if delay == math.inf:
                    raise ValueError(f"node {target} would wait for ever: the message's delay is {delay}")
                to.append((target, number, at + delay))
            else:
                to.append((target, number))
            self._gathered.append((channel, Message(payload, environment, number, at), delay))
        entry: dict[str, Any] = {"to": to, "output": send.output, "payload": payload}
        if cause is not None:
            entry["follows"] = cause.number
        if environment is not self._environment:
            entry["environment"] = environment
        return entry

    def _record(self, entry: dict[str, Any]) -> None:
        """Add to the journal, and see to it that this and what was gathered is written and delivered."""
        if self._journal:
            self._journal.record(entry)
        self._flush_soon()

    def _flush_soon(self) -> None:
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_soon(self.flush)
