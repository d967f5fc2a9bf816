"""Take messages off a queue: each is accepted durably before the broker is told so, or rejected with a reason.

Messages are taken one after the other, in their order. One that can't be accepted now, since something is away that may
come back, is held: the broker keeps it, it's tried again after pauses, and others go on. Those that are held take places
of the few that the broker lets out at a time, so after some time they're handed to the site as they are, which sends
them when it can.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from blocks.errors import PassingFault
from blocks.retrying import Pauses
from flows.display_text import escaped, shortened
from flows.events.bridge.journal import Delivery, Journal, digest_of
from flows.events.bridge.judging import BadMessage, kept_headers, read_request, seen, sender_of
from flows.events.bridge.state import Tally
from flows.events.bridge.topology import dead_letters_of
from flows.events.request import RunRequest

logger = logging.getLogger(__name__)

MOST_AT_HAND: Final = 20
"""So many messages the broker lets out before it hears what became of them."""
HELD_S: Final = 20 * 60.0
"""RabbitMQ takes a message back, and counts it as tried, if it hears nothing of it for half an hour."""
TRIES: Final = 5  # of a message by which something fails that nobody expects
PAUSES: Final = Pauses(first_s=1.0, longest_s=30.0)
_REASON_CHARACTERS: Final = 500

Reject = Callable[[AbstractIncomingMessage], Awaitable[None]]


class Site(Protocol):
    """What a request is handed to."""

    async def judge(self, request: RunRequest, mark: str) -> None:
        """Find out whether there's something to run.

        Raises
        ------
        BadMessage
            There isn't, today or later.
        PassingFault
            That can't be told now.
        """
        ...

    async def submit(self, request: RunRequest, headers: dict[str, object], mark: str) -> str:
        """Have it run, once by its mark, safe from now on; return what became of it, for people.

        Raises
        ------
        BadMessage
            It's refused.
        PassingFault, OSError
            It can't be kept now.
        """
        ...


async def reject_to_dead_letters(message: AbstractIncomingMessage) -> None:
    """Have the broker move a message to the queue's dead letters."""
    await message.reject(requeue=False)


@dataclass
class _Taking:
    """A message, and how far it is."""

    message: AbstractIncomingMessage
    request: RunRequest | None = None
    delivery: Delivery | None = None
    is_held: bool = False
    failures: int = 0
    since: float = field(default_factory=time.monotonic)

    def hold(self) -> None:
        self.is_held = True
        self.failures += 1


class Intake:
    """Takes the messages of one queue, for as long as its channel is open."""

    def __init__(
        self,
        channel: AbstractChannel,
        queue: str,
        site: Site,
        journal: Journal,
        tally: Tally,
        reject: Reject = reject_to_dead_letters,
    ) -> None:
        self._channel, self._queue = channel, queue
        self._site, self._journal, self._tally = site, journal, tally
        self._reject = reject
        self._arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        self._in_hand = asyncio.Lock()
        self._consumer: str | None = None
        self._is_closing = False

    @property
    def is_busy(self) -> bool:
        """Whether a message is in hand."""
        return self._in_hand.locked()

    async def run(self) -> None:
        """Take messages until this is cancelled.

        Raises
        ------
        AMQPError
            The channel is closed.
        """
        await self._channel.set_qos(prefetch_count=MOST_AT_HAND)
        queue = await self._channel.get_queue(self._queue, ensure=False)
        self._consumer = await queue.consume(self._arrived.put)
        async with asyncio.TaskGroup() as held:
            while True:
                taking = _Taking(await self._arrived.get())
                if self._is_closing:
                    continue  # the broker gives it to the next one
                if not await self._take(taking):
                    held.create_task(self._hold(taking))

    async def count(self) -> int:
        """Return how many messages wait in the queue.

        Raises
        ------
        AMQPError
            It isn't there any more.
        """
        found = await self._channel.declare_queue(self._queue, passive=True)
        return found.declaration_result.message_count or 0

    async def close(self, patience_s: float) -> None:
        """Take no more, and finish with the message in hand."""
        self._is_closing = True
        if self._consumer is not None:
            queue = await self._channel.get_queue(self._queue, ensure=False)
            await queue.cancel(self._consumer)
        async with asyncio.timeout(patience_s), self._in_hand:
            return

    async def _hold(self, taking: _Taking) -> None:
        """Try a message again until it's done with."""
        self._tally.held += 1
        try:
            done = False
            while not done:
                await asyncio.sleep(PAUSES.after(taking.failures))
                done = await self._take(taking)
        finally:
            self._tally.held -= 1

    async def _take(self, taking: _Taking) -> bool:
        """Do with a message what is to be done, and tell the broker; False: not now."""
        async with self._in_hand:
            refused = await self._accept(taking)
            if taking.is_held:
                return False
            if refused:
                self._tell_refused(taking.message, refused)
                await self._reject(taking.message)
            else:
                await taking.message.ack()
                self._tally.taken += 1
            if taking.delivery is not None:
                # What's answered on this channel comes after what was said before, so the broker knows by then
                await self.count()
                await asyncio.to_thread(self._journal.forget, taking.delivery)
            return True

    async def _accept(self, taking: _Taking) -> str:
        """Have safe what a message asks for, or else say why it's refused, or note that it's held."""
        taking.is_held = False
        try:
            await self._hand_over(taking)
        except BadMessage as error:
            return str(error)
        except (PassingFault, OSError) as error:
            self._tell_held(taking, error)
        except Exception as error:  # whatever a message can bring about, it's that of one message
            logger.exception("a message of %s can't be taken", sender_of(taking.message.headers))
            self._tally.note_error(repr(error))
            if taking.failures + 1 >= TRIES:
                return f"it can't be taken, tried {TRIES} times: {error!r}"
            taking.hold()
        return ""

    async def _hand_over(self, taking: _Taking) -> None:
        message = taking.message
        if taking.request is None:
            taking.request = read_request(message.body)
        if taking.delivery is None:
            digest = digest_of(self._queue, message.body, message.headers, message.message_id)
            taking.delivery = await asyncio.to_thread(self._journal.take, digest, again=bool(message.redelivered))
        delivery = taking.delivery
        if delivery.is_accepted:
            logger.info("the broker brings again what was taken before; it isn't run twice")
            return
        if time.monotonic() - taking.since < HELD_S:
            await self._site.judge(taking.request, delivery.mark)
        told = await self._site.submit(taking.request, kept_headers(message.headers), delivery.mark)
        await asyncio.to_thread(self._journal.accept, delivery)
        logger.info("a message of %s: %s", sender_of(message.headers), told)

    def _tell_held(self, taking: _Taking, error: Exception) -> None:
        if taking.failures == 0:
            logger.warning("a message of %s is held: %s", sender_of(taking.message.headers), _shown(error))
        self._tally.note_error(_shown(error))
        taking.hold()

    def _tell_refused(self, message: AbstractIncomingMessage, reason: str) -> None:
        logger.error(
            "a message of %s is rejected to %s: %s; it was %s",
            sender_of(message.headers),
            dead_letters_of(self._queue),
            _shown(reason),
            seen(message.body),
        )
        self._tally.rejected += 1
        self._tally.note_error(f"rejected a message: {_shown(reason)}")


def _shown(reason: object) -> str:
    return shortened(escaped(str(reason) or repr(reason)), _REASON_CHARACTERS)
