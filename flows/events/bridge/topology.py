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

from flows.display_text import one_line, shortened

logger = logging.getLogger(__name__)

REQUESTS: Final = "processing_recipe"
STOMP_REQUESTS: Final = "zocalo.processing_recipe"
RESULTS: Final = "results"
DELAYED: Final = "delayed"
STATUS: Final = "transient.status"
COMMAND: Final = "command"
CLUSTER_STATISTICS: Final = "transient.statistics.cluster"
_REASON_CHARACTERS: Final = 300


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


@dataclass(frozen=True)
class Differences:
    """What somebody else has declared otherwise than Plaza would.

    Parameters
    ----------
    of_requests
        What differs in the queue `processing_recipe`, which may be without dead letters then; empty: nothing does.
    of_exchanges
        What differs in exchanges, a line each.
    """

    of_requests: str = ""
    of_exchanges: tuple[str, ...] = ()


async def declare_topology(
    connection: AbstractConnection, xrc_beamlines: tuple[str, ...], connect: Callable[[], Awaitable[AbstractConnection]]
) -> Differences:
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
    declared = queues(xrc_beamlines)
    for queue in declared:
        await declare_queue(connection, queue)
    [requests] = [queue for queue in declared if queue.name == REQUESTS]
    found = [(exchange.name, await _exchange_difference(connection, exchange)) for exchange in EXCHANGES]
    return Differences(
        await _difference(connection, lambda channel: _declare(channel, requests)),
        tuple(f"the exchange {name} isn't of the type that clients expect: {fault}" for name, fault in found if fault),
    )


def _declare(channel: AbstractChannel, queue: Queue) -> Awaitable[object]:
    return channel.declare_queue(queue.name, durable=True, arguments=dict(queue.arguments))


async def _exchange_difference(connection: AbstractConnection, exchange: Exchange) -> str:
    fault = await _difference(
        connection,
        lambda channel: channel.declare_exchange(
            exchange.name, exchange.type, durable=exchange.durable, arguments=dict(exchange.arguments)
        ),
    )
    return fault if "'type'" in fault else ""  # whether it outlives a restart is the site's choice


async def _difference(connection: AbstractConnection, declare: Callable[[AbstractChannel], Awaitable[object]]) -> str:
    """Say in what something that's there differs from what is declared; the broker changes nothing of it."""
    channel = connection.channel()
    await channel.initialize()
    try:
        await declare(channel)
    except ChannelClosed as error:  # it differs; or we may not declare, and can't know
        return shortened(one_line(str(error)), _REASON_CHARACTERS)
    await channel.close()
    return ""


async def declare_queue(connection: AbstractConnection, queue: Queue) -> None:
    """Have a queue there, bound to its exchange.

    Raises
    ------
    AMQPError
        It isn't there and can't be declared.
    """
    if not await _has(connection, lambda channel: channel.declare_queue(queue.name, passive=True)):
        async with connection.channel() as channel:
            await _declare(channel, queue)
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
