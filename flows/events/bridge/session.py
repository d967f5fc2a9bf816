"""What the bridge does over one connection, from its beginning to its end."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Final

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage

from blocks.broker_address import BrokerAddress
from blocks.errors import PassingFault
from flows.events.bridge.broadcasts import Broadcaster, ServiceStatus, listen
from flows.events.bridge.connection import FAULTS, BrokerUnavailable, connect, in_words
from flows.events.bridge.intake import Intake, Reject, Site, reject_to_dead_letters
from flows.events.bridge.journal import Journal
from flows.events.bridge.publishing import Publisher
from flows.events.bridge.state import WRITTEN_S, Tally
from flows.events.bridge.topology import (
    REQUESTS,
    STOMP_QUEUES,
    STOMP_REQUESTS,
    dead_letters_of,
    declare_queue,
    declare_topology,
)

logger = logging.getLogger(__name__)

_FINISH_S: Final = 7.0  # with the message in hand; supervisord kills after 10


class HomeUnavailable(PassingFault):
    """The home folder can't be written just now."""


class Stopped(Exception):
    """The bridge was told to end."""


@dataclass
class Bridge:
    """What outlives a connection.

    Parameters
    ----------
    stop
        Set when the bridge is to end.
    """

    address: BrokerAddress
    site: Site
    journal: Journal
    tally: Tally
    publisher: Publisher
    host: str
    stop: asyncio.Event

    async def serve(self) -> None:
        """Connect, and take and publish messages until the connection is lost or the bridge is to end.

        Raises
        ------
        BrokerUnavailable
            There's no connection, or it's lost.
        HomeUnavailable
            The home folder can't be written.
        Stopped
            The bridge was told to end, and has finished.
        """
        try:
            async with AsyncExitStack() as stack:
                connections = [await self._enter(stack), await self._enter(stack)]
                taking, publishing = connections
                await self._prepare(taking)
                intakes = [await self._intake(taking, REQUESTS, reject_to_dead_letters)]
                if self.address.stomp_vhost is not None:
                    connections.append(await self._enter(stack, self.address.stomp_vhost))
                    intakes.append(await self._stomp_intake(connections[-1]))
                self.tally.note_connection()
                await asyncio.to_thread(self.tally.write)
                logger.info("connected to %s", self.address)
                # In a task of its own: before Python 3.11.4 a group that fails leaves the task that waits for it
                # counted as cancelled, and the next time limit in that one cancels it for good
                await asyncio.create_task(self._work(connections, publishing, intakes))
        except BaseExceptionGroup as group:
            if group.subgroup(Stopped) is not None:
                raise Stopped from group
            if (faults := group.subgroup(FAULTS)) is not None:
                raise BrokerUnavailable(_first(faults)) from group
            raise
        except FAULTS as error:
            raise BrokerUnavailable(_first(error)) from error
        finally:
            self.tally.connected_since = None

    async def _enter(self, stack: AsyncExitStack, vhost: str | None = None) -> AbstractConnection:
        connection = await connect(self.address, vhost)

        async def close() -> None:
            with suppress(*FAULTS):
                await connection.close()

        stack.push_async_callback(close)
        return connection

    async def _prepare(self, connection: AbstractConnection) -> None:
        """Have everything there that clients need, before any message is taken."""
        await declare_topology(connection, self.address.xrc_beamlines, lambda: connect(self.address))
        try:
            await asyncio.to_thread(self.publisher.prepare)
        except OSError as error:
            raise HomeUnavailable(f"the outbox can't be used: {error}") from error
        self.journal.connected()
        await listen(connection, self.host, self.stop.set)

    async def _intake(self, connection: AbstractConnection, queue: str, reject: Reject) -> Intake:
        channel = connection.channel(publisher_confirms=False)
        await channel.initialize()
        underlay = await channel.get_underlay_channel()

        def lost(_frame: object) -> None:
            logger.warning("the queue %s was deleted while it was listened to: it's declared again", queue)
            asyncio.ensure_future(connection.close())  # noqa: RUF006  # which ends the session

        underlay.on_consumer_cancel_callbacks.add(lost)
        return Intake(channel, queue, self.site, self.journal, self.tally, reject)

    async def _stomp_intake(self, connection: AbstractConnection) -> Intake:
        """Take what STOMP's clients put; their queue, which the broker makes, has no dead letters of its own."""
        for queue in STOMP_QUEUES:
            await declare_queue(connection, queue)
        dead_letters = await connection.channel(publisher_confirms=True, on_return_raises=True)

        async def reject(message: AbstractIncomingMessage) -> None:
            copy = Message(message.body, headers=message.headers, delivery_mode=DeliveryMode.PERSISTENT)
            await dead_letters.default_exchange.publish(copy, dead_letters_of(STOMP_REQUESTS))
            await message.ack()

        return await self._intake(connection, STOMP_REQUESTS, reject)

    async def _work(
        self, connections: list[AbstractConnection], publishing: AbstractConnection, intakes: list[Intake]
    ) -> None:
        """Take and publish: over connections of their own, as a broker short of memory doesn't read from who publishes.

        Raises
        ------
        BaseExceptionGroup
            One of the connections is lost, or the bridge has ended.
        """

        def look() -> ServiceStatus:
            return ServiceStatus.PROCESSING if any(intake.is_busy for intake in intakes) else ServiceStatus.IDLE

        broadcaster = Broadcaster(self.host, look)
        channel = await publishing.channel(publisher_confirms=False)
        async with asyncio.TaskGroup() as tasks:
            for intake in intakes:
                tasks.create_task(intake.run())
            tasks.create_task(self.publisher.run(publishing))
            tasks.create_task(broadcaster.run(channel))
            tasks.create_task(self._report(intakes))
            for connection in connections:
                tasks.create_task(_until_closed(connection))
            tasks.create_task(self._stop_when_told(intakes, broadcaster, channel))

    async def _report(self, intakes: list[Intake]) -> None:
        """Write down how the bridge is, every few seconds."""
        while True:
            self.tally.waiting = sum([await intake.count() for intake in intakes])
            self.tally.held = sum(intake.held for intake in intakes)
            await asyncio.to_thread(self.tally.write)
            await asyncio.to_thread(self.journal.forget_old)
            await asyncio.sleep(WRITTEN_S)

    async def _stop_when_told(self, intakes: list[Intake], broadcaster: Broadcaster, channel: AbstractChannel) -> None:
        await self.stop.wait()
        await broadcaster.say(channel, ServiceStatus.SHUTTING_DOWN)
        for intake in intakes:
            try:
                await intake.close(_FINISH_S / len(intakes))
            except TimeoutError:
                logger.warning("a message of %s isn't done with: the broker brings it again", intake.queue)
        await broadcaster.say(channel, ServiceStatus.SHUTDOWN)
        raise Stopped


async def _until_closed(connection: AbstractConnection) -> None:
    await connection.closed()
    raise ConnectionError("the connection is closed")


def _first(error: BaseException) -> str:
    """Say what a session ended of: its tasks end together, and the first one says why."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return in_words(error)
