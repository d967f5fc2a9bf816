"""Reject messages: they go among the dead letters of their queue, by the broker or, without it, by the bridge."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage, HeadersType

from flows.events.bridge.topology import dead_letters_of

Reject = Callable[[AbstractIncomingMessage], Awaitable[None]]
DEATH: Final = "x-death"
"""The header in which the broker says where a dead letter was: Zocalo's tools read in it where it goes back to."""


async def reject_to_dead_letters(message: AbstractIncomingMessage) -> None:
    """Have the broker move a message to the queue's dead letters."""
    await message.reject(requeue=False)


async def rejection_without_dead_letters(connection: AbstractConnection, queue: str) -> Reject:
    """Return what puts messages among a queue's dead letters in the broker's stead, in its form."""
    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)

    async def reject(message: AbstractIncomingMessage) -> None:
        copy = Message(message.body, headers=_with_death(message, queue), delivery_mode=DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(copy, dead_letters_of(queue))
        await message.ack()

    return reject


def _with_death(message: AbstractIncomingMessage, queue: str) -> HeadersType:
    death: HeadersType = {
        "count": 1,
        "reason": "rejected",
        "queue": queue,
        "exchange": message.exchange or "",
        "routing-keys": [message.routing_key or queue],
        "time": datetime.now(UTC),
    }
    return {**message.headers, DEATH: [death]}
