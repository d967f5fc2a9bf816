"""Publish what waits in the outbox, oldest first: each confirmed by the broker, and put into a queue by it.

What no queue takes, and what can't be sent now, stays and is tried again. What is of no use any more, what no broker
takes as it is, and what may have been sent though it mustn't be sent twice, is kept aside in a folder that says so.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import ChannelClosed, ChannelPreconditionFailed, DeliveryError
from pamqp import commands
from pydantic import ValidationError

from blocks.retrying import Pauses
from blocks.validation_faults import describe
from flows.display_text import escaped, shortened
from flows.events.bridge.connection import FAULTS, in_words
from flows.events.bridge.state import Tally
from tasks.broker_outbox import PUBLISHED, BrokerMessage, outbox_folder, sync_folder

logger = logging.getLogger(__name__)

LATE: Final = "late"
REFUSED: Final = "refused"
UNCERTAIN: Final = "uncertain"
SENDING: Final = "sending"
"""Folders in the outbox."""
LOOK_S: Final = 0.2  # a beamline waits for its crystal's centre
MOST_BYTES: Final = 16 * 1024 * 1024  # what RabbitMQ itself takes from 4.0 on
_CONFIRM_S: Final = 10.0
_REMEMBERED_S: Final = 30 * 24 * 3600.0
_FORGETS_S: Final = 3600.0
_PAUSES: Final = Pauses(first_s=1.0, longest_s=10.0)
_REASON_CHARACTERS: Final = 300
_NAMED: Final = 3  # destinations, by `plaza status`


class NotRouted(Exception):
    """The broker puts a message into no queue, or takes it not at all."""


class Unsendable(Exception):
    """A message that no broker takes, today or later."""


class NotConfirmed(ConnectionError):
    """Nobody knows whether the broker has a message."""


@dataclass
class _Trouble:
    destination: str
    failures: int = 0
    rests_until: float = 0.0


@dataclass
class Publisher:
    """Publishes what is in the outbox of a home, over a connection at a time."""

    home: Path
    tally: Tally
    _trouble: dict[str, _Trouble] = field(default_factory=dict)
    _forgot_at: float = -math.inf

    @property
    def folder(self) -> Path:
        """The outbox."""
        return outbox_folder(self.home)

    def prepare(self) -> None:
        """Make the outbox, and put aside what was being sent when the last connection was lost."""
        for name in ("", PUBLISHED, SENDING):
            (self.folder / name).mkdir(mode=0o770, parents=True, exist_ok=True)
        for path in _files(self.folder / SENDING):
            self._put_aside(path, UNCERTAIN, "the bridge ended while it sent it, so it may have been published")

    def _forget_old(self) -> None:
        """Forget what was published long ago: a run that says it again is late by then."""
        self._forgot_at = time.monotonic()
        oldest = time.time() - _REMEMBERED_S
        for path in _files(self.folder / PUBLISHED):
            if path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)

    async def run(self, connection: AbstractConnection) -> None:
        """Publish what waits and what comes until this is cancelled.

        Raises
        ------
        Exception
            The connection is lost.
        """
        channel = await _open(connection)
        while True:
            if time.monotonic() - self._forgot_at > _FORGETS_S:
                await asyncio.to_thread(self._forget_old)
            files = await asyncio.to_thread(_files, self.folder)
            self.tally.outbox = len(files)
            there = {path.name for path in files}
            self._trouble = {name: each for name, each in self._trouble.items() if name in there}
            self.tally.not_taken_by = ", ".join(sorted({each.destination for each in self._trouble.values()})[:_NAMED])
            for path in files:
                if self._rests(path):
                    continue
                if channel.is_closed:
                    channel = await _open(connection)
                try:
                    await self._publish(path, channel)
                except NotConfirmed:
                    raise
                except OSError as error:  # of the disk
                    self._note_trouble(path, "the disk", str(error))
            await asyncio.sleep(LOOK_S)

    def _rests(self, path: Path) -> bool:
        trouble = self._trouble.get(path.name)
        return trouble is not None and time.monotonic() < trouble.rests_until

    async def _publish(self, path: Path, channel: AbstractChannel) -> None:
        read = await asyncio.to_thread(self._read, path)
        if read is None:
            return
        message, content = read
        sending = path
        if message.at_most_once:
            sending = self.folder / SENDING / path.name
            path.rename(sending)
            await asyncio.to_thread(sync_folder, sending.parent)
        try:
            await _send(message, content, channel)
        except NotRouted as error:
            if sending != path:
                sending.rename(path)
            self._note_trouble(path, _destination(message), str(error))
        except Unsendable as error:
            self._put_aside(sending, REFUSED, f"for {_destination(message)}, {error}")
        except NotConfirmed as error:
            if sending != path:
                self._put_aside(sending, UNCERTAIN, f"{error}, so it may have been published")
            raise
        else:
            await asyncio.to_thread(self._done, sending)
            self.tally.published += 1
            logger.info("published a message for %s", _destination(message))

    def _read(self, path: Path) -> tuple[BrokerMessage, Message] | None:
        """Read a file, and return it as AMQP has it, too; None: it can't be published, and was put aside."""
        try:
            if path.stat().st_size > MOST_BYTES:
                self._put_aside(path, REFUSED, f"it has more than {MOST_BYTES} bytes")
                return None
            message = BrokerMessage.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            self._put_aside(path, REFUSED, f"it's no message for the broker: {describe(error, most=3)}")
            return None
        if (left := _left_s(message)) is not None and left <= 0:
            self._put_aside(path, LATE, f"for {_destination(message)} it came {-left:.0f} s too late")
            return None
        try:
            return message, _content(message)
        except Exception as error:  # whatever a file can bring about, it's that of one file
            self._put_aside(path, REFUSED, f"for {_destination(message)}, AMQP has no such message: {error!r}")
            return None

    def _note_trouble(self, path: Path, destination: str, reason: str) -> None:
        trouble = self._trouble.setdefault(path.name, _Trouble(destination))
        trouble.failures += 1
        trouble.rests_until = time.monotonic() + _PAUSES.after(trouble.failures)
        if trouble.failures == 1:
            logger.warning("a message for %s isn't published and stays in %s: %s", destination, path, _shown(reason))
        self.tally.note_error(f"a message for {destination} isn't published: {_shown(reason)}")

    def _put_aside(self, path: Path, where: str, reason: str) -> None:
        aside = self.folder / where / path.name
        aside.parent.mkdir(mode=0o770, exist_ok=True)
        path.rename(aside)
        logger.error("a message isn't published and is kept as %s: %s", aside, _shown(reason))
        self.tally.note_error(_shown(reason))

    def _done(self, path: Path) -> None:
        """Take a message out of the outbox; what was put with a mark is remembered."""
        if path.stem.endswith("-once"):
            path.rename(self.folder / PUBLISHED / path.name)
        else:
            path.unlink(missing_ok=True)


async def _open(connection: AbstractConnection) -> AbstractChannel:
    channel = connection.channel(publisher_confirms=True, on_return_raises=True)
    await channel.initialize()
    return channel


def _content(message: BrokerMessage) -> Message:
    """Return a message as AMQP has it, when all that aiormq writes of it has been written once on trial.

    What can't be written would end aiormq's writer, and with it the connection.
    """
    left = _left_s(message)
    content = Message(
        # As JSON of Zocalo's clients: ASCII
        _as_json(message.body),
        headers=dict(message.headers),
        delivery_mode=DeliveryMode.PERSISTENT,
        expiration=None if left is None else timedelta(seconds=max(0.0, left)),
    )
    commands.Basic.Publish(exchange=message.exchange, routing_key=message.queue).marshal()
    content.properties.marshal()
    return content


async def _send(message: BrokerMessage, content: Message, channel: AbstractChannel) -> None:
    """Publish a message and wait until the broker has put it into a queue."""
    exchange = channel.default_exchange
    if message.exchange:
        exchange = await channel.get_exchange(message.exchange, ensure=False)
    try:
        await exchange.publish(content, message.queue, mandatory=True, timeout=_CONFIRM_S)
    except DeliveryError as error:
        raise NotRouted("no queue there takes it, or the broker doesn't: declare the queue, and it's sent") from error
    except ChannelPreconditionFailed as error:
        raise Unsendable(f"the broker takes no such message: {error}") from error
    except ChannelClosed as error:
        raise NotRouted(str(error)) from error
    except FAULTS as error:
        raise NotConfirmed(f"the broker has not confirmed it ({in_words(error)})") from error
    except Exception as error:  # of aiormq, by what the message says
        raise Unsendable(f"it can't be published: {error!r}") from error


def _as_json(body: object) -> bytes:
    return json.dumps(body).encode()


def _left_s(message: BrokerMessage) -> float | None:
    """Return for how long a message is of use from now on, in seconds; None: for ever."""
    return None if message.expires_s is None else message.written_at + message.expires_s - time.time()


def _destination(message: BrokerMessage) -> str:
    name = shortened(escaped(message.queue), 100)
    return f"{name} of the exchange {shortened(escaped(message.exchange), 100)}" if message.exchange else name


def _files(folder: Path) -> list[Path]:
    """Return the files of messages, oldest first."""
    return sorted(path for path in folder.glob("*.json") if not path.name.startswith("."))


def _shown(reason: str) -> str:
    return shortened(escaped(reason), _REASON_CHARACTERS)
