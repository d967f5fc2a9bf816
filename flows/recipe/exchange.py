"""Where a run's messages change hands: each is numbered and written to the journal before it's delivered.

Sends are gathered until the event loop is free, or until there are many: a journal that is written for each message
would cost more than all else. What was gathered is written by one call, then delivered.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from flows.recipe.channel import Channel
from flows.recipe.journal import Journal
from flows.recipe.replay import Replay
from flows.recipe.routing import Routes
from tasks.step import Message, Send

GATHERED: Final = 64  # messages


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
        self._channels, self._routes, self._delays = channels, routes, delays
        self._environment, self._journal = environment, journal
        self._numbers = itertools.count(1)
        self._heard: defaultdict[int, Counter[str | None]] = defaultdict(Counter)  # of messages that aren't done
        self._to_drop: dict[int, Counter[str | None]] = {}
        self._gathered: list[tuple[int, Message, float]] = []
        self._flushing: asyncio.Handle | None = None

    def restore(self, state: Replay) -> None:
        """Deliver what was waiting when the run's last process ended, and know what was sent already."""
        self._numbers = itertools.count(state.last_number + 1)
        now = time.time()
        for delivery in state.waiting.values():
            if delivery.again in state.heard:
                self._heard[delivery.number] = state.heard[delivery.again]
                self._begin_anew(delivery.number)
            environment = self._environment if delivery.environment is None else delivery.environment
            message = Message(delivery.payload, environment, delivery.number, delivery.sent_at)
            self._gathered.append((delivery.node, message, (delivery.due or now) - now))

    def start(self, entries: Iterable[tuple[int, Any]]) -> None:
        """Send a recipe's start messages."""
        at = time.time()
        sends = [self._address(Send(payload), (node,), at) for node, payload in entries]
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
        at = time.time()
        routes, sent, full, gathered = self._routes[node], [], None, len(self._gathered)
        try:
            for send in sends:
                targets = routes[send.output]
                if targets and not done and not self._is_news(send):
                    continue
                count[send.output or ""] += 1
                if targets:
                    sent.append(self._address(send, targets, at, cause))
                    for target in targets:
                        if (channel := self._channels[target]).is_full:
                            full = channel
            if sent or done:
                self._record({"at": at, "node": node, "sends": sent, "done": done})
        except Exception:  # what can't be written shall not be delivered either
            del self._gathered[gathered:]
            raise
        self._forget(done)
        if len(self._gathered) >= GATHERED:
            self.flush()
        return full

    def note_done(self, node: int, done: Sequence[int]) -> None:
        """Note messages that are done without an answer."""
        self._record({"at": time.time(), "node": node, "done": done})
        self._forget(done)

    def try_again(self, node: int, message: Message, error: str, pause_s: float) -> None:
        """Deliver a message to its node once more, after a pause."""
        self._begin_anew(message.number)
        self._gathered.append((node, message, pause_s))
        self._record({"at": time.time(), "node": node, "tried": message.number, "error": error})
        self.flush()  # now, lest the inbox be closed before the message is on its way

    def refuse(self, node: int, message: Message, error: str, report: Any, handlers: Sequence[int]) -> None:
        """Note that a message is given up, and tell the nodes that error links lead to.

        They are told without waiting for room, since a step can't wait where it refuses.
        """
        at = time.time()
        sends = [self._address(Send(report, "error", message.environment), handlers, at)] if handlers else []
        self._record({"at": at, "node": node, "refused": message.number, "error": error, "sends": sends})
        self._forget((message.number,))

    def flush(self) -> None:
        """Write what was gathered, then deliver it."""
        if self._flushing:
            self._flushing.cancel()
            self._flushing = None
        if self._journal:
            self._journal.flush()
        gathered, self._gathered = self._gathered, []
        for node, message, delay in gathered:
            self._channels[node].post(message, delay)

    def _is_news(self, send: Send) -> bool:
        """Tell whether a step hasn't sent this before, when it had the same message for the last time."""
        if send.follows is None:
            return True
        number, output = send.follows.number, send.output
        if (to_drop := self._to_drop.get(number)) and to_drop[output]:
            to_drop[output] -= 1
            return False
        self._heard[number][output] += 1
        return True

    def _begin_anew(self, number: int) -> None:
        """Expect a step to send again what it has sent in answer to a message that it wasn't done with."""
        if number in self._heard:
            self._to_drop[number] = Counter(self._heard[number])

    def _forget(self, done: Iterable[int]) -> None:
        for number in done:
            self._heard.pop(number, None)
            self._to_drop.pop(number, None)

    def _address(self, send: Send, targets: Sequence[int], at: float, cause: Message | None = None) -> dict[str, Any]:
        """Give a send's messages their numbers, gather them, and return what the journal says of them."""
        environment = send.environment
        if environment is None:
            environment = cause.environment if cause else self._environment
        to: list[tuple[int, int] | tuple[int, int, float]] = []
        for target in targets:
            delay = self._delays[target] if send.delay is None else send.delay
            number = next(self._numbers)
            if delay == math.inf:
                raise ValueError(f"node {target} would wait for ever: the message's delay is {delay}")
            to.append((target, number, at + delay) if delay > 0 else (target, number))
            self._gathered.append((target, Message(send.payload, environment, number, at), delay))
        entry: dict[str, Any] = {"to": to, "output": send.output, "payload": send.payload}
        if cause is not None:
            entry["follows"] = cause.number
        if environment is not self._environment:
            entry["environment"] = environment
        return entry

    def _record(self, entry: dict[str, Any]) -> None:
        """Add to the journal, and see to it that this and what was gathered is written and delivered."""
        if self._journal:
            self._journal.record(entry)
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_soon(self.flush)
