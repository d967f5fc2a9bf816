"""A node's inbox: bounded, fed by several nodes, closed when the last of them is done."""

from __future__ import annotations

import asyncio
from typing import Final

from tasks.step import Message

CAPACITY: Final = 64  # messages; small enough that a slow step soon holds back a fast one


class Channel:
    """An asynchronous iterator of messages that ends when all feeders have finished and the inbox is empty.

    `put` waits while the inbox is full: back-pressure. Messages with a delay wait outside of it.
    """

    def __init__(self, feeders: int, capacity: int = CAPACITY) -> None:
        self._queue: asyncio.Queue[Message | None] = asyncio.Queue(capacity)
        self._feeders = feeders
        self._delayed: set[asyncio.Task[None]] = set()
        self._closed = False

    async def put(self, message: Message, delay: float = 0) -> None:
        """Deliver a message, `delay` seconds from now; waits for room unless it's delayed."""
        if delay > 0:
            task = asyncio.create_task(self._put_later(message, delay))
            self._delayed.add(task)
            task.add_done_callback(self._delayed.discard)
        elif not self._queue.full():
            self._queue.put_nowait(message)
        else:
            await self._queue.put(message)

    async def _put_later(self, message: Message, delay: float) -> None:
        await asyncio.sleep(delay)
        await self._queue.put(message)

    async def feeder_finished(self) -> None:
        """Say that one of the feeders sends no more; the last one closes the channel, after what it has delayed."""
        self._feeders -= 1
        if self._feeders == 0:
            while self._delayed:
                await asyncio.wait(self._delayed)
            await self._queue.put(None)

    def __aiter__(self) -> Channel:
        return self

    async def __anext__(self) -> Message:
        if self._closed:
            raise StopAsyncIteration
        message = await self._queue.get()
        if message is None:
            self._closed = True
            raise StopAsyncIteration
        return message

    def cancel(self) -> None:
        """Forget what is still delayed: the run is being abandoned."""
        for task in self._delayed:
            task.cancel()
