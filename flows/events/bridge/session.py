"""What the bridge does over one connection, from its beginning to its end."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Final

from aio_pika.abc import AbstractChannel, AbstractConnection

from blocks.broker_address import BrokerAddress
from blocks.errors import PassingFault
from flows.events.bridge.broadcasts import Broadcaster, ServiceStatus, listen
from flows.events.bridge.connection import FAULTS, BrokerUnavailable, connect, in_words
from flows.events.bridge.intake import Intake, Site
from flows.events.bridge.journal import Journal
from flows.events.bridge.publishing import Publisher
from flows.events.bridge.rejecting import Reject, reject_to_dead_letters, rejection_without_dead_letters
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

_STOMP_S: Final = 30.0
_FINISH_S: Final = 7.0  # with the message in hand; supervisord kills after 10


class HomeUnavailable(PassingFault):
    """The home folder can't be written just now."""


class _Anew(Exception):
    """A virtual host that was away is there."""


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
    _warnings: list[str] = field(default_factory=list)
    _is_without_stomp: bool = False

    async def serve(self) -> None:
        """Connect, and take and publish messages until the connection is lost or the bridge is to end.

        It also returns when there's more to connect to than there was.

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
                self._warnings = []
                intakes = [await self._intake(taking, REQUESTS, await self._prepare(taking))]
                if self.address.stomp_vhost is not None:
                    await self._add_stomp(stack, self.address.stomp_vhost, connections, intakes)
                self.tally.warnings = tuple(self._warnings)
                self.tally.note_connection()
                await asyncio.to_thread(self.tally.write)
                logger.info("connected to %s", self.address)
                # In a task of its own: before Python 3.11.4 a group that fails leaves the task that waits for it
                # counted as cancelled, and the next time limit in that one cancels it for good
                await asyncio.create_task(self._work(connections, publishing, intakes))
        except BaseExceptionGroup as group:
            if group.subgroup(Stopped) is not None:
                raise Stopped from group
            if group.subgroup(_Anew) is not None:
                return
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

    async def _prepare(self, connection: AbstractConnection) -> Reject:
        """Have everything there that clients need, before any message is taken; return how one is rejected."""
        found = await declare_topology(connection, self.address.xrc_beamlines, lambda: connect(self.address))
        for difference in found.of_exchanges:
            self._warn(f"{difference}. Delete it, and the bridge declares it as it should be")
        try:
            await asyncio.to_thread(self.publisher.prepare)
        except OSError as error:
            raise HomeUnavailable(f"the outbox can't be used: {error}") from error
        self.journal.connected()
        await listen(connection, self.host, self.stop.set)
        if not found.of_requests:
            return reject_to_dead_letters
        self._warn(
            f"the queue {REQUESTS} was declared by somebody else, and may have no dead letters: what can't be run the "
            f"bridge itself puts into {dead_letters_of(REQUESTS)} ({found.of_requests})"
        )
        return await rejection_without_dead_letters(connection, REQUESTS)

    def _warn(self, text: str) -> None:
        if text not in self.tally.warnings:
            logger.warning("%s", text)
        self._warnings.append(text)

    async def _add_stomp(
        self, stack: AsyncExitStack, vhost: str, connections: list[AbstractConnection], intakes: list[Intake]
    ) -> None:
        """Hear STOMP's clients, too, if that can be; else the rest goes on, and that is tried again."""
        try:
            connection = await self._enter(stack, vhost)
            intake = await self._stomp_intake(connection)
        except (BrokerUnavailable, *FAULTS) as error:
            self._warn(f"STOMP's clients aren't heard (stomp_vhost), all others are: {in_words(error)}")
            self._is_without_stomp = True
        else:
            self._is_without_stomp = False
            connections.append(connection)
            intakes.append(intake)

    async def _look_for_stomp(self, vhost: str) -> None:
        """Begin anew as soon as the virtual host of STOMP's clients is there."""
        while True:
            await asyncio.sleep(_STOMP_S)
            with suppress(BrokerUnavailable, *FAULTS):
                async with AsyncExitStack() as stack:
                    await self._stomp_intake(await self._enter(stack, vhost))
                raise _Anew(f"the virtual host {vhost} is there")

    async def _intake(self, connection: AbstractConnection, queue: str, reject: Reject) -> Intake:
        channel = connection.channel(publisher_confirms=False)
        await channel.initialize()
        underlay = await channel.get_underlay_channel()
        closing: list[asyncio.Future[None]] = []  # the loop itself keeps no hold on what it's to do

        def lost(_frame: object) -> None:
            logger.warning("the queue %s was deleted while it was listened to: it's declared again", queue)
            closing.append(asyncio.ensure_future(connection.close()))  # which ends the session

        underlay.on_consumer_cancel_callbacks.add(lost)
        return Intake(channel, queue, self.site, self.journal, self.tally, reject)

    async def _stomp_intake(self, connection: AbstractConnection) -> Intake:
        """Take what STOMP's clients put; their queue, which the broker makes, has no dead letters of its own."""
        for queue in STOMP_QUEUES:
            await declare_queue(connection, queue)
        reject = await rejection_without_dead_letters(connection, STOMP_REQUESTS)
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
            if self._is_without_stomp and self.address.stomp_vhost is not None:
                tasks.create_task(self._look_for_stomp(self.address.stomp_vhost))
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
