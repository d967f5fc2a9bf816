"""Deliver the events that wait in the drop folder, oldest first, as soon as Prefect's server takes them."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Final
from uuid import UUID

from flows.display_text import escaped
from flows.events.drop_folder import DropFolder, KeptEvent, LockTaken, NoEvent, read_event
from flows.events.sending import EventNotTaken, EventRefused, MimasUnreachable, Sender, open_sender

logger = logging.getLogger(__name__)

LOOK_S: Final = 1.0
UNWRITTEN_S: Final = 10.0  # a file that doesn't change for so long isn't being written
TRIES_IN_ORDER: Final = 3  # answers of HTTP 5xx, until other events may overtake
_LONGEST_REST_S: Final = 5.0
_FAULT_REST_S: Final = 10.0


@dataclass
class _Unread:
    """A file that is no event, or not yet."""

    size_and_time: tuple[int, int]
    since: float


@dataclass
class _Trouble:
    """An event that Prefect's server answers with an error."""

    dcid: int
    answers: int = 0
    rests_until: float = 0.0


@dataclass
class Delivery:
    """Sends what waits in a drop folder. It remembers what can't be sent, so one that goes on looking keeps it."""

    folder: DropFolder
    _unread: dict[Path, _Unread] = field(default_factory=dict)
    _trouble: dict[Path, _Trouble] = field(default_factory=dict)
    _stuck: set[Path] = field(default_factory=set)  # can be neither removed nor moved

    async def send_waiting(self) -> dict[Path, UUID]:
        """Send all that waits, oldest first, and return the flow runs; call it with the folder's lock.

        Raises
        ------
        MimasUnreachable
            They can't be sent now; those that weren't are still there.
        OSError
            The folder can't be read.
        """
        waiting = await asyncio.to_thread(self._read)
        sent: dict[Path, UUID] = {}
        if not waiting:
            return sent
        async with open_sender() as sender:
            for kept in waiting:
                if kept.event.dcid in self._resting:  # its start isn't overtaken by its end
                    continue
                run = await self._send(sender, kept)
                if run is not None:
                    sent[kept.path] = run
        return sent

    @property
    def _resting(self) -> set[int]:
        """The data collections of which an event isn't to be tried just now."""
        now = time.monotonic()
        return {trouble.dcid for trouble in self._trouble.values() if trouble.rests_until > now}

    def _read(self) -> list[KeptEvent]:
        """Read the events that are to be sent now, in their order; move aside what are none."""
        files = self.folder.files()
        there = set(files)
        self._unread = {path: unread for path, unread in self._unread.items() if path in there}
        self._trouble = {path: trouble for path, trouble in self._trouble.items() if path in there}
        self._stuck &= there
        found = [kept for path in files if path not in self._stuck and (kept := self._read_one(path)) is not None]
        return sorted(found, key=attrgetter("at", "path"))

    def _read_one(self, path: Path) -> KeptEvent | None:
        try:
            kept = read_event(path)
        except FileNotFoundError:
            return None
        except NoEvent as error:
            if self._is_settled(path):
                self._refuse(path, error)
            return None
        self._unread.pop(path, None)
        return kept

    def _is_settled(self, path: Path) -> bool:
        """Tell whether a file hasn't changed for some time, by this machine's clock: its writer may have another."""
        try:
            found = path.lstat()
        except FileNotFoundError:
            return False
        seen = _Unread((found.st_size, found.st_mtime_ns), time.monotonic())
        before = self._unread.setdefault(path, seen)
        if before.size_and_time != seen.size_and_time:
            self._unread[path] = seen
            return False
        return seen.since - before.since >= UNWRITTEN_S

    async def _send(self, sender: Sender, kept: KeptEvent) -> UUID | None:
        try:
            run = await sender.send(kept.event, kept.mark)
        except EventRefused as error:
            await asyncio.to_thread(self._refuse, kept.path, error)
            return None
        except Exception as error:  # whatever an event can bring about
            if isinstance(error, MimasUnreachable) and not isinstance(error, EventNotTaken):
                raise
            self._note_trouble(kept, error)
            return None
        self._trouble.pop(kept.path, None)
        await asyncio.to_thread(self._remove, kept)
        return run

    def _note_trouble(self, kept: KeptEvent, error: Exception) -> None:
        """Raise the error while it may be everyone's; let others overtake an event that always has it."""
        trouble = self._trouble.setdefault(kept.path, _Trouble(kept.event.dcid))
        trouble.answers += 1
        if trouble.answers < TRIES_IN_ORDER:
            raise error
        if trouble.answers == TRIES_IN_ORDER:
            logger.warning("%s isn't taken, others go before it: %s", kept.event, error)
        rest = min(LOOK_S * 2.0 ** (trouble.answers - TRIES_IN_ORDER), _LONGEST_REST_S)
        trouble.rests_until = time.monotonic() + rest

    def _remove(self, kept: KeptEvent) -> None:
        try:
            kept.path.unlink(missing_ok=True)
        except OSError as error:
            self._stuck.add(kept.path)
            logger.warning("%s was sent, but its file %s can't be removed: %s", kept.event, kept.path, error.strerror)

    def _refuse(self, path: Path, why: Exception) -> None:
        try:
            aside = self.folder.refuse(path)
        except OSError as error:
            self._stuck.add(path)
            logger.warning("%s is no event and can't be moved aside: %s", escaped(str(path)), error.strerror)
        else:
            logger.warning("no event: %s; it was moved to %s", escaped(str(why)), escaped(str(aside)))


async def deliver_forever(folder: DropFolder) -> None:
    """Deliver what waits and what comes, until this is cancelled; whatever goes wrong, it goes on."""
    delivery = Delivery(folder)
    is_away = False
    while True:
        rest = LOOK_S
        try:
            sent = await _deliver_if_any(delivery)
            if sent:
                logger.warning("sent %d event(s) that had waited in %s", len(sent), folder.path)
            is_away = False
        except MimasUnreachable as error:
            if not is_away:
                logger.warning("events wait in %s: %s", folder.path, error)
            is_away = True
        except LockTaken:
            pass  # who has the lock sends them
        except Exception:  # a disk that went away, an answer that nobody expects: the site goes on without
            logger.exception("events in %s can't be delivered; it's tried again in %.0f s", folder.path, _FAULT_REST_S)
            rest = _FAULT_REST_S
        await asyncio.sleep(rest)


async def _deliver_if_any(delivery: Delivery) -> dict[Path, UUID]:
    """Make the folder, which says that events can be kept here; take the lock only when there's something to send."""
    await asyncio.to_thread(delivery.folder.make)
    if not await asyncio.to_thread(delivery.folder.files):
        return {}
    async with delivery.folder.lock():
        return await delivery.send_waiting()
