"""Take messages off a queue: each is accepted durably before the broker is told so, or rejected with a reason.

Messages are noted as they arrive, and taken one after the other, in their order. One that can't be accepted now, since
something is away that may come back, is held: the broker keeps it, it's tried again after pauses, and others go on, but
for those of the same data collection. Those that are held take places of the few that the broker lets out at a time,
and it takes back what it hears nothing of; so after some time, and the oldest of more than a few at once, they're
handed to the site as they are, which sends them when it can.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from blocks.errors import PassingFault
from blocks.retrying import Pauses
from flows.display_text import escaped, shortened
from flows.events.bridge.journal import Delivery, Journal, digest_of
from flows.events.bridge.judging import BadMessage, kept_headers, read_request, seen, sender_of
from flows.events.bridge.rejecting import Reject, reject_to_dead_letters
from flows.events.bridge.state import Tally
from flows.events.bridge.topology import dead_letters_of
from flows.events.request import RunRequest

logger = logging.getLogger(__name__)

MOST_AT_HAND: Final = 10
"""So many messages the broker lets out before it hears what became of them. With a policy that limits deliveries, each
lost connection brings those closer to the dead letters."""
HELD_S: Final = 20 * 60.0
"""RabbitMQ takes a message back, and counts it as tried, if it hears nothing of it for half an hour."""
MOST_HELD: Final = MOST_AT_HAND // 2
"""So many may be held: the other places are for messages that can be taken."""
TRIES: Final = 5  # of a message by which something fails that nobody expects
PAUSES: Final = Pauses(first_s=1.0, longest_s=30.0)
_REASON_CHARACTERS: Final = 500


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

    async def submit(self, request: RunRequest, headers: Mapping[str, Any], mark: str) -> str:
        """Have it run, once by its mark, safe from now on; return what became of it, for people.

        Raises
        ------
        BadMessage
            It's refused.
        PassingFault, OSError
            It can't be kept now.
        """
        ...


@dataclass(eq=False)
class _Taking:
    """A message, and how far it is."""

    message: AbstractIncomingMessage
    request: RunRequest | None = None
    fault: BadMessage | None = None
    delivery: Delivery | None = None
    failures: int = 0
    is_odd: bool = False
    is_done: bool = False
    since: float = field(default_factory=time.monotonic)

    @property
    def about(self) -> str | None:
        """The data collection or job that it names."""
        parameters = {} if self.request is None else self.request.parameters
        named = [(name, parameters.get(name)) for name in ("ispyb_dcid", "ispyb_process")]
        return next((f"{name} {value}" for name, value in named if value), None)


class _NotNow(Exception):
    """A message is to be tried again."""


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
        self.queue = queue
        self._channel = channel
        self._site, self._journal, self._tally = site, journal, tally
        self._reject = reject
        self._arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        self._noted: asyncio.Queue[_Taking] = asyncio.Queue()
        self._held: list[_Taking] = []
        self._in_hand = asyncio.Lock()
        self._consumer: str | None = None
        self._is_closing = False

    @property
    def is_busy(self) -> bool:
        """Whether a message is in hand."""
        return self._in_hand.locked()

    @property
    def held(self) -> int:
        """How many messages are held."""
        return len(self._held)

    async def run(self) -> None:
        """Take messages until this is cancelled.

        Raises
        ------
        AMQPError
            The channel is closed.
        """
        await self._channel.set_qos(prefetch_count=MOST_AT_HAND)
        queue = await self._channel.get_queue(self.queue, ensure=False)
        self._consumer = await queue.consume(self._arrived.put)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._note_arrivals())
            tasks.create_task(self._try_held())
            while True:
                taking = await self._noted.get()
                if not self._is_closing:
                    await self._take_first(taking)

    async def count(self) -> int:
        """Return how many messages wait in the queue, when the broker has heard all that was said on the channel.

        Raises
        ------
        AMQPError
            The queue isn't there any more.
        """
        found = await self._channel.declare_queue(self.queue, passive=True)
        return found.declaration_result.message_count or 0

    async def close(self, patience_s: float) -> None:
        """Take no more, and finish with the message in hand.

        Raises
        ------
        TimeoutError
            That takes longer.
        """
        self._is_closing = True
        async with asyncio.timeout(patience_s):
            if self._consumer is not None:
                queue = await self._channel.get_queue(self.queue, ensure=False)
                await queue.cancel(self._consumer)
            async with self._in_hand:
                return

    async def _note_arrivals(self) -> None:
        """Note what arrives, also while another message is in hand."""
        while True:
            taking = _Taking(await self._arrived.get())
            try:
                taking.request = read_request(taking.message.body)
                await self._note(taking)
            except BadMessage as error:
                taking.fault = error
            except OSError as error:  # it's tried again when the message's turn comes
                logger.warning("a message can't be noted in the journal yet: %s", error)
            self._noted.put_nowait(taking)

    async def _note(self, taking: _Taking) -> Delivery:
        if taking.delivery is None:
            message = taking.message
            digest = digest_of(self.queue, message.body, message.headers, message.message_id)
            taking.delivery = await asyncio.to_thread(self._journal.take, digest, again=bool(message.redelivered))
        return taking.delivery

    async def _take_first(self, taking: _Taking) -> None:
        """Take a message that has just come, or hold it."""
        if taking.fault is not None:
            async with self._in_hand:
                await self._refuse(taking, taking.fault)
            return
        is_behind = taking.about is not None and taking.about in [each.about for each in self._held]
        if is_behind or not await self._take(taking):
            self._held.append(taking)
            await self._make_room()

    async def _make_room(self) -> None:
        """Hand over the oldest of too many that are held, so that others have a place."""
        for taking in [each for each in self._held if not each.is_odd][: max(0, len(self._held) - MOST_HELD)]:
            taking.since = -math.inf
            if not await self._take(taking):  # the disk is full: nothing can be taken
                return

    async def _try_held(self) -> None:
        """Try again what is held, in its order, after pauses."""
        passes = 0
        while True:
            await asyncio.sleep(PAUSES.after(passes + 1))
            waiting: set[str] = set()
            for taking in [] if self._is_closing else list(self._held):
                if (taking.about in waiting or not await self._take(taking)) and taking.about is not None:
                    waiting.add(taking.about)
            passes = passes + 1 if self._held else 0

    async def _take(self, taking: _Taking) -> bool:
        """Do with a message what is to be done, and tell the broker; False: not now."""
        async with self._in_hand:
            if taking.is_done:
                return True
            try:
                await self._accept(taking)
            except BadMessage as error:
                await self._refuse(taking, error)
            except _NotNow:
                taking.failures += 1
                return False
            else:
                await taking.message.ack()
                self._tally.taken += 1
                await self._forget(taking)
            taking.is_done = True
            if taking in self._held:
                self._held.remove(taking)
            return True

    async def _accept(self, taking: _Taking) -> None:
        """Have safe what a message asks for, and find no fault but its own."""
        message = taking.message
        try:
            await self._hand_over(taking, await self._note(taking))
        except BadMessage:
            raise
        except (PassingFault, OSError) as error:
            if taking.failures == 0:
                logger.warning("a message of %s is held: %s", sender_of(message.headers), _shown(error))
            self._tally.note_error(f"holds a message: {_shown(error)}")
            raise _NotNow from error
        except Exception as error:  # whatever a message can bring about, it's that of one message
            logger.exception("a message of %s can't be taken", sender_of(message.headers))
            self._tally.note_error(_shown(repr(error)))
            taking.is_odd = True
            if taking.failures + 1 >= TRIES:
                raise BadMessage(f"it can't be taken, tried {TRIES} times: {error!r}") from error
            raise _NotNow from error

    async def _hand_over(self, taking: _Taking, delivery: Delivery) -> None:
        assert taking.request is not None
        sender = sender_of(taking.message.headers)
        if delivery.is_accepted:
            logger.info("the broker brings again a message of %s that was taken: it isn't run twice", sender)
            return
        if time.monotonic() - taking.since < HELD_S:
            await self._site.judge(taking.request, delivery.mark)
        told = await self._site.submit(taking.request, kept_headers(taking.message.headers), delivery.mark)
        await asyncio.to_thread(self._journal.accept, delivery)
        logger.info("a message of %s: %s", sender, told)

    async def _refuse(self, taking: _Taking, error: BadMessage) -> None:
        logger.error(
            "a message of %s is rejected to %s: %s; it was %s",
            sender_of(taking.message.headers),
            dead_letters_of(self.queue),
            _shown(error),
            seen(taking.message.body),
        )
        await self._reject(taking.message)
        self._tally.rejected += 1
        self._tally.note_error(f"rejected a message: {_shown(error)}")
        await self._forget(taking)

    async def _forget(self, taking: _Taking) -> None:
        """Forget a message as soon as the broker knows what became of it."""
        if taking.delivery is not None:
            await self.count()  # what's answered on this channel comes after what was said on it before
            await asyncio.to_thread(self._journal.forget, taking.delivery)


def _shown(reason: object) -> str:
    return shortened(escaped(str(reason) or repr(reason)), _REASON_CHARACTERS)
