"""Queues and exchanges that Zocalo's clients take for granted: none of them declares any.

A message to a queue that isn't there vanishes without a word, so they're there before anything else is done. What a
site has declared stays as it is. What isn't there is declared as in Diamond's published configuration, so that
`zocalo.configure_rabbitmq` finds nothing to change. Policies can't be declared by AMQP: docs/how-to/zocalo-clients.md
has those that a site should set.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import AMQPConnectionError, ChannelClosed, ChannelNotFoundEntity

logger = logging.getLogger(__name__)

REQUESTS: Final = "processing_recipe"
STOMP_REQUESTS: Final = "zocalo.processing_recipe"
RESULTS: Final = "results"
DELAYED: Final = "delayed"
STATUS: Final = "transient.status"
COMMAND: Final = "command"
CLUSTER_STATISTICS: Final = "transient.statistics.cluster"


@dataclass(frozen=True)
class Queue:
    """A queue, with the exchange that it's bound to by its name."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    bound_to: str | None = None


@dataclass(frozen=True)
class Exchange:
    """An exchange."""

    name: str
    type: ExchangeType | str
    durable: bool
    arguments: Mapping[str, Any] = field(default_factory=dict)


EXCHANGES: Final = (
    Exchange(RESULTS, ExchangeType.TOPIC, durable=False),
    Exchange(STATUS, ExchangeType.FANOUT, durable=True),
    Exchange(COMMAND, ExchangeType.FANOUT, durable=True),
    Exchange(CLUSTER_STATISTICS, ExchangeType.FANOUT, durable=True),
)
_WITH_DELAYS: Final = Exchange(
    DELAYED, ExchangeType.X_DELAYED_MESSAGE, durable=False, arguments={"x-delayed-type": "direct"}
)
_WITHOUT_DELAYS: Final = Exchange(DELAYED, ExchangeType.DIRECT, durable=False)


def dead_letters_of(queue: str) -> str:
    """Return the queue that takes what was rejected from another."""
    return f"dlq.{queue}"


def results_queue(beamline: str) -> str:
    """Return the queue on which a beamline waits for centring results."""
    return f"xrc.{beamline}"


def queues(xrc_beamlines: tuple[str, ...]) -> tuple[Queue, ...]:
    """Return the queues of Zocalo's virtual host."""
    quorum, in_turn = {"x-queue-type": "quorum"}, {"x-queue-type": "quorum", "x-single-active-consumer": False}
    dead_letters = dead_letters_of(REQUESTS)
    return (
        Queue(dead_letters, quorum),
        Queue(
            REQUESTS,
            {**in_turn, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead_letters},
            bound_to=DELAYED,
        ),
        *(Queue(results_queue(beamline), in_turn, bound_to=RESULTS) for beamline in xrc_beamlines),
    )


STOMP_QUEUES: Final = (Queue(dead_letters_of(STOMP_REQUESTS)), Queue(STOMP_REQUESTS))
"""As the broker makes them for STOMP's clients, who couldn't send to a queue of other arguments."""


async def declare_topology(
    connection: AbstractConnection, xrc_beamlines: tuple[str, ...], connect: Callable[[], Awaitable[AbstractConnection]]
) -> None:
    """Have everything there that clients in Zocalo's virtual host take for granted.

    Parameters
    ----------
    connect
        Opens another connection: the broker ends one that asks for a kind of exchange that it hasn't got.

    Raises
    ------
    AMQPError
        Something isn't there and can't be declared.
    """
    for exchange in EXCHANGES:
        await _declare_exchange(connection, exchange)
    await _declare_delayed(connection, connect)
    for queue in queues(xrc_beamlines):
        await declare_queue(connection, queue)


async def declare_queue(connection: AbstractConnection, queue: Queue) -> None:
    """Have a queue there, bound to its exchange.

    Raises
    ------
    AMQPError
        It isn't there and can't be declared.
    """
    if not await _has(connection, lambda channel: channel.declare_queue(queue.name, passive=True)):
        async with connection.channel() as channel:
            await channel.declare_queue(queue.name, durable=True, arguments=dict(queue.arguments))
        logger.info("declared the queue %s", queue.name)
    if queue.bound_to is not None:
        await _bind(connection, queue.name, queue.bound_to)


async def _bind(connection: AbstractConnection, queue: str, exchange: str) -> None:
    """Bind a queue to an exchange by its name; said again, it changes nothing."""
    channel = connection.channel()
    await channel.initialize()
    try:
        found = await channel.get_queue(queue, ensure=False)
        await found.bind(exchange, routing_key=queue)
        await channel.close()
    except ChannelClosed as error:  # who may not bind may find it bound
        logger.warning("the queue %s can't be bound to the exchange %s, if it isn't yet: %s", queue, exchange, error)


async def _declare_exchange(connection: AbstractConnection, exchange: Exchange) -> None:
    if await _has(connection, lambda channel: channel.declare_exchange(exchange.name, passive=True)):
        return
    async with connection.channel() as channel:
        await channel.declare_exchange(
            exchange.name, exchange.type, durable=exchange.durable, arguments=dict(exchange.arguments)
        )
    logger.info("declared the exchange %s", exchange.name)


async def _declare_delayed(
    connection: AbstractConnection, connect: Callable[[], Awaitable[AbstractConnection]]
) -> None:
    """Have the exchange there to which clients send what is to arrive later; the broker may lack the plug-in for it."""
    if await _has(connection, lambda channel: channel.declare_exchange(DELAYED, passive=True)):
        return
    probe = await connect()
    try:
        await _declare_exchange(probe, _WITH_DELAYS)
    except (AMQPConnectionError, ChannelClosed):
        logger.warning(
            "the broker has no plug-in rabbitmq_delayed_message_exchange: what clients send with a delay comes at once"
        )
        await _declare_exchange(connection, _WITHOUT_DELAYS)
    finally:
        await probe.close()


async def _has(connection: AbstractConnection, ask: Callable[[AbstractChannel], Awaitable[object]]) -> bool:
    """Tell whether something is there, by a channel of its own: the broker closes one that asks in vain."""
    channel = connection.channel()
    await channel.initialize()
    try:
        await ask(channel)
    except ChannelNotFoundEntity:
        return False
    await channel.close()
    return True
