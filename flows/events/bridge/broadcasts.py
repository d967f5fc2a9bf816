"""Speak as a service of Zocalo does: say how it is, and listen to commands and to what clusters say of themselves."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from importlib.metadata import version
from typing import Any, Final

from aio_pika import Message
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage

from blocks.errors import MessageRefused
from flows.cluster_statistics import note_statistics
from flows.display_text import escaped, shortened
from flows.events.bridge.topology import CLUSTER_STATISTICS, COMMAND, STATUS

logger = logging.getLogger(__name__)

SERVICE: Final = "Plaza Bridge"
SERVICE_CLASS: Final = "PlazaBridge"
"""What `zocalo.shutdown -s` calls it."""
STATUS_S: Final = 6.0
_EXPIRES_S: Final = 15.0
_MOST_BYTES: Final = 64 * 1024
_REFUSALS_TOLD: Final = 3  # a broadcast comes again every half a minute


class ServiceStatus(IntEnum):
    """What a service of Zocalo does, by its numbers."""

    STARTING = 1
    IDLE = 2
    PROCESSING = 4
    SHUTTING_DOWN = 5
    SHUTDOWN = 6

    @property
    def text(self) -> str:
        """In Zocalo's words."""
        return self.name.lower().replace("_", " ")


@dataclass
class Utilisation:
    """Which part of the time a service was in which status, since it was last asked."""

    status: ServiceStatus = ServiceStatus.STARTING
    _since: float = field(default_factory=time.monotonic)
    _spent: dict[ServiceStatus, float] = field(default_factory=dict)

    def become(self, status: ServiceStatus) -> None:
        """Note a change."""
        now = time.monotonic()
        self._spent[self.status] = self._spent.get(self.status, 0.0) + now - self._since
        self.status, self._since = status, now

    def shares(self) -> dict[str, float]:
        """Return them by the statuses' numbers, and begin anew."""
        self.become(self.status)
        total = sum(self._spent.values())
        shares = {str(int(status)): round(spent / total, 3) for status, spent in self._spent.items() if total}
        self._spent.clear()
        return shares


def host_name() -> str:
    """Return what Zocalo calls a service's host: the parts of its name in the opposite order, and the process."""
    return ".".join([*reversed(socket.getfqdn().split(".")), str(os.getpid())])


class Broadcaster:
    """Says every few seconds, and upon each change, how the bridge is."""

    def __init__(self, host: str, look: Callable[[], ServiceStatus]) -> None:
        self.host = host
        self._look = look
        self._utilisation = Utilisation()
        self._version = version("plaza")

    async def run(self, channel: AbstractChannel) -> None:
        """Say so until this is cancelled.

        Raises
        ------
        AMQPError
            The connection is lost.
        """
        said_at = -STATUS_S
        while True:
            status = self._look()
            if status != self._utilisation.status or time.monotonic() - said_at >= STATUS_S:
                await self.say(channel, status)
                said_at = time.monotonic()
            await asyncio.sleep(1.0)

    async def say(self, channel: AbstractChannel, status: ServiceStatus) -> None:
        """Say it once."""
        self._utilisation.become(status)
        exchange = await channel.get_exchange(STATUS, ensure=False)
        await exchange.publish(
            Message(json.dumps(self.status(status)).encode(), expiration=_EXPIRES_S), "", mandatory=False
        )

    def status(self, status: ServiceStatus) -> dict[str, Any]:
        """Return what is said, in the form of Zocalo's own services."""
        return {
            "host": self.host,
            "status": int(status),
            "statustext": status.text,
            "service": SERVICE,
            "serviceclass": SERVICE_CLASS,
            "utilization": self._utilisation.shares(),
            "workflows": self._version,
            "zocalo": self._version,
        }


def asks_to_stop(command: Mapping[str, Any], host: str) -> bool:
    """Tell whether a command asks this service to end: by its class or by its host."""
    return command.get("command") == "shutdown" and (
        command.get("service") == SERVICE_CLASS or command.get("host") == host
    )


async def listen(connection: AbstractConnection, host: str, stop: Callable[[], None]) -> None:
    """Listen to commands and to clusters' statistics from now on, as long as the connection is open."""
    refusals: dict[str, int] = {}

    async def obey(message: AbstractIncomingMessage) -> None:
        if (command := _content(message)) is not None and asks_to_stop(command, host):
            logger.info("told to shut down by a command of Zocalo")
            stop()

    async def note(message: AbstractIncomingMessage) -> None:
        broadcast = _content(message)
        if broadcast is None:
            return
        try:
            await asyncio.to_thread(note_statistics, broadcast)
        except (MessageRefused, OSError) as error:
            reason = shortened(escaped(str(error)), 300)
            refusals[reason] = refusals.get(reason, 0) + 1 if len(refusals) < 100 else _REFUSALS_TOLD
            if refusals[reason] < _REFUSALS_TOLD:
                logger.warning("statistics of a cluster can't be kept: %s", reason)

    channel = connection.channel(publisher_confirms=False)
    await channel.initialize()
    for exchange, hear in ((COMMAND, obey), (CLUSTER_STATISTICS, note)):
        queue = await channel.declare_queue(exclusive=True, auto_delete=True)
        await queue.bind(exchange)
        await queue.consume(hear, no_ack=True)


def _content(message: AbstractIncomingMessage) -> Mapping[str, Any] | None:
    """Return the object that a broadcast holds; None: it holds something else, and isn't for us."""
    if len(message.body) > _MOST_BYTES:
        return None
    try:
        content = json.loads(message.body)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
