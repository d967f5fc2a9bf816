"""A broker's channel in this process: what is put into its one queue is let out as RabbitMQ does, some at a time."""

from __future__ import annotations

import json
from collections import deque
from types import SimpleNamespace
from typing import Any


class FakeMessage:
    """A message as aio-pika hands it over."""

    def __init__(self, channel: FakeChannel, content: Any, *, redelivered: bool) -> None:
        self.body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.headers: dict[str, Any] = {}
        self.message_id = None
        self.redelivered = redelivered
        self.settled = ""
        self._channel = channel

    async def ack(self) -> None:
        await self._settle("acked")

    async def reject(self, requeue: bool = False) -> None:
        await self._settle("rejected")

    async def _settle(self, how: str) -> None:
        assert not self.settled, "RabbitMQ closes the channel of who settles a message twice"
        self.settled = how
        self._channel.out.remove(self)
        await self._channel.let_out()


class FakeChannel:
    """A channel with one queue and one consumer."""

    def __init__(self) -> None:
        self.out: list[FakeMessage] = []
        self.messages: list[FakeMessage] = []
        self._waiting: deque[FakeMessage] = deque()
        self._prefetch, self._callback = 0, None

    async def put(self, *contents: Any, redelivered: bool = False) -> None:
        messages = [FakeMessage(self, content, redelivered=redelivered) for content in contents]
        self.messages += messages
        self._waiting.extend(messages)
        await self.let_out()

    async def let_out(self) -> None:
        while self._callback is not None and self._waiting and len(self.out) < self._prefetch:
            message = self._waiting.popleft()
            self.out.append(message)
            await self._callback(message)

    async def set_qos(self, prefetch_count: int) -> None:
        self._prefetch = prefetch_count

    async def get_queue(self, name: str, ensure: bool = True) -> FakeChannel:
        return self

    async def consume(self, callback: Any) -> str:
        self._callback = callback
        await self.let_out()
        return "consumer"

    async def declare_queue(self, name: str, passive: bool = False) -> Any:
        return SimpleNamespace(declaration_result=SimpleNamespace(message_count=len(self._waiting)))
