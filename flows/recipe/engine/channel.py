"""A node's inbox: bounded, fed by several nodes, closed when the last of them is done."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from tasks.step import Message

CAPACITY: Final = 64  # messages; small enough that a slow step soon holds back a fast one


def _note_nothing(message: Message) -> None:
    """Let a message be taken without a note of it."""


class Channel:
    """An asynchronous iterator of messages that ends when all feeders have finished and the inbox is empty.

    Who sends asks for room before the next message: back-pressure. Messages with a delay wait outside of it.
    Who waits for the next message may be cancelled without harm.

    Attributes
    ----------
    on_take
        Called with each message that is taken.
    is_full
        No more should be sent for now.
    has_told_end
        Who takes the messages has heard that there are no more.
    """

    def __init__(self, feeders: int, capacity: int = CAPACITY) -> None:
        self.on_take: Callable[[Message], None] = _note_nothing
        self.is_full = self.has_told_end = False
        self._messages: deque[Message] = deque()
        self._capacity = capacity
        self._feeders = feeders
        self._timers: set[asyncio.TimerHandle] = set()
        self._news = asyncio.Event()
        self._room = asyncio.Event()

    async def has_room(self) -> None:
        """Wait until the inbox has room."""
        while self.is_full:  # again: another sender may have been quicker
            self._room.clear()
            await self._room.wait()

    def post(self, message: Message, delay: float = 0) -> None:
        """Deliver a message, `delay` seconds from now, whether there's room or not."""
        if delay > 0:
            timer: asyncio.TimerHandle
            timer = asyncio.get_running_loop().call_later(delay, lambda: self._arrive(message, timer))
            self._timers.add(timer)
        else:
            if not self._messages:
                self._news.set()
            self._messages.append(message)
            if len(self._messages) >= self._capacity:
                self.is_full = True

    def _arrive(self, message: Message, timer: asyncio.TimerHandle) -> None:
        self._timers.discard(timer)
        self.post(message)

    def feeder_finished(self) -> None:
        """Say that one of the feeders sends no more; the last one closes the channel, after what it has delayed."""
        self._feeders -= 1
        self._news.set()

    async def has_more(self) -> bool:
        """Wait for a message or for the end, and tell whether there's a message."""
        while not self._messages:
            if self._feeders <= 0 and not self._timers:
                return False
            self._news.clear()
            await self._news.wait()
        return True

    def __aiter__(self) -> Channel:
        return self

    async def __anext__(self) -> Message:
        if not self._messages and not await self.has_more():
            self.has_told_end = True
            raise StopAsyncIteration
        message = self._messages.popleft()
        if self.is_full and len(self._messages) < self._capacity:
            self.is_full = False
            self._room.set()
        self.on_take(message)
        return message

    def cancel(self) -> None:
        """Forget what is still delayed: the run is being abandoned."""
        for timer in self._timers:
            timer.cancel()
