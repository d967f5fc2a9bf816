"""Messages that wait for what others write, without holding up those behind them."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator

from tasks.step import Message


class Postponed:
    """An inbox to which messages can be given back for a while.

    Parameters
    ----------
    pause_s
        Seconds until a message that was given back comes again.
    tries
        How often a message may come in all.
    """

    def __init__(self, inbox: AsyncIterator[Message], pause_s: float, tries: int) -> None:
        self._inbox, self._pause_s, self._tries = inbox, pause_s, tries
        self._waiting: list[tuple[float, int, Message]] = []
        self._order = itertools.count()
        self._given_back: Counter[int] = Counter()

    def put_back(self, message: Message) -> bool:
        """Have a message come again later; False if it has come often enough."""
        self._given_back[message.number] += 1
        if self._given_back[message.number] >= self._tries:
            return False
        due = asyncio.get_running_loop().time() + self._pause_s
        heapq.heappush(self._waiting, (due, next(self._order), message))
        return True

    async def messages(self) -> AsyncGenerator[Message, None]:
        """Yield the inbox's messages, and those that were given back when they are due, until there are none left.

        Take the next one only after the last was given back or not.
        """
        loop = asyncio.get_running_loop()
        # Asked for once, and waited for with a limit: to cancel `anext` would end the inbox, a generator.
        coming: asyncio.Future[Message | None] = asyncio.ensure_future(anext(self._inbox, None))
        is_over = False
        try:
            while not is_over or self._waiting:
                pause = max(0.0, self._waiting[0][0] - loop.time()) if self._waiting else None
                if is_over:
                    await asyncio.sleep(pause or 0.0)
                else:
                    await asyncio.wait({coming}, timeout=pause)
                if self._waiting and self._waiting[0][0] <= loop.time():
                    yield heapq.heappop(self._waiting)[2]
                elif not is_over and coming.done():
                    message = coming.result()
                    if message is None:
                        is_over = True
                    else:
                        yield message
                        coming = asyncio.ensure_future(anext(self._inbox, None))
        finally:
            coming.cancel()
