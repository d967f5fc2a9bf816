"""Deliver what waits in the drop folder, events and requests, oldest first, as soon as Prefect's server takes it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Final

from blocks.errors import DatabaseUnavailable
from flows.display_text import escaped
from flows.events.drop_folder.file import DropFile, InvalidDropFile, read_drop_file
from flows.events.drop_folder.folder import DropFolder, LockTaken
from flows.events.drop_folder.sender import DropSender, StartedRun
from flows.events.sending import EventNotTaken, MimasUnreachable, SendingRefused, open_sender
from flows.resources import SiteResources

logger = logging.getLogger(__name__)

LOOK_S: Final = 1.0
UNWRITTEN_S: Final = 10.0  # a file that doesn't change for so long isn't being written
TRIES_IN_ORDER: Final = 3  # answers of HTTP 5xx, until other events may overtake
PASS_S: Final = 2.0  # then the folder is looked at anew, and others may have its lock
_PAUSE_S: Final = 0.25  # for who waits for the lock: longer than between two of its tries
_LONGEST_REST_S: Final = 5.0
_FAULT_REST_S: Final = 10.0


@dataclass
class _Unread:
    """A file that holds nothing that can be sent, or not yet."""

    size_and_time: tuple[int, int]
    since: float


@dataclass
class _Trouble:
    """An event or a request that is answered with an error."""

    collection: str | None
    error: Exception
    answers: int = 0
    rests_until: float = 0.0


@dataclass
class Delivery:
    """Sends what waits in a drop folder. It remembers what can't be sent, so one that goes on looking keeps it.

    Parameters
    ----------
    on_sent
        Told of each file that is sent.
    own
        A request whose sender waits for what becomes of it: refused, it's not moved aside, but `own_refusal` says why.

    Attributes
    ----------
    is_cut_short
        The last sending has left some that could have been sent: they took too long together.
    """

    folder: DropFolder
    on_sent: Callable[[DropFile, tuple[StartedRun, ...]], None] = lambda file, runs: None
    own: Path | None = None
    own_refusal: SendingRefused | None = None
    is_cut_short: bool = field(default=False, init=False)
    _unread: dict[Path, _Unread] = field(default_factory=dict)
    _trouble: dict[Path, _Trouble] = field(default_factory=dict)
    _stuck: set[Path] = field(default_factory=set)  # can be neither removed nor moved

    async def send_waiting(self) -> dict[Path, tuple[StartedRun, ...]]:
        """Send what waits, oldest first, for some seconds, and return the flow runs; call it with the folder's lock.

        Where there's more, `is_cut_short` says so: give up the lock, and call it again.

        Raises
        ------
        MimasUnreachable
            They can't be sent now; those that weren't are still there.
        OSError
            The folder can't be read.
        """
        self.is_cut_short, ends = False, time.monotonic() + PASS_S
        waiting = await asyncio.to_thread(self._read)
        sent: dict[Path, tuple[StartedRun, ...]] = {}
        if not waiting:
            return sent
        async with open_sender() as sender, SiteResources() as resources:
            for file in waiting:
                if self._is_to_rest(file):
                    continue
                if sent and time.monotonic() >= ends:
                    self.is_cut_short = True
                    break
                runs = await self._send(DropSender(sender, resources), file)
                if runs is not None:
                    sent[file.path] = runs
        return sent

    def why_waiting(self, path: Path) -> Exception | None:
        """Return what a file was answered with that is to be tried again; None: nothing yet."""
        trouble = self._trouble.get(path)
        return None if trouble is None else trouble.error

    def _is_to_rest(self, file: DropFile) -> bool:
        """Tell whether a file isn't to be tried just now: it, or another of its data collection, has just been."""
        now = time.monotonic()
        resting = {path: trouble for path, trouble in self._trouble.items() if trouble.rests_until > now}
        if file.path in resting:
            return True
        if file.reads_ispyb and any(isinstance(trouble.error, DatabaseUnavailable) for trouble in resting.values()):
            return True
        # Its start isn't overtaken by its end
        return file.collection is not None and file.collection in {trouble.collection for trouble in resting.values()}

    def _read(self) -> list[DropFile]:
        """Read what is to be sent now, in its order; move aside what can't be read."""
        files = self.folder.files()
        there = set(files)
        self._unread = {path: unread for path, unread in self._unread.items() if path in there}
        self._trouble = {path: trouble for path, trouble in self._trouble.items() if path in there}
        self._stuck &= there
        found = [file for path in files if path not in self._stuck and (file := self._read_one(path)) is not None]
        return sorted(found, key=attrgetter("at", "path"))

    def _read_one(self, path: Path) -> DropFile | None:
        try:
            file = read_drop_file(path)
        except FileNotFoundError:
            return None
        except InvalidDropFile as error:
            if self._is_settled(path):
                self._refuse(path, error)
            return None
        self._unread.pop(path, None)
        return file

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

    async def _send(self, sender: DropSender, file: DropFile) -> tuple[StartedRun, ...] | None:
        try:
            runs = await sender.send(file.content, file.mark)
        except SendingRefused as error:
            if file.path == self.own:
                self.own_refusal = error
                await asyncio.to_thread(self._remove, file)
            else:
                await asyncio.to_thread(self._refuse, file.path, error)
            return None
        except Exception as error:  # whatever an event can bring about
            if isinstance(error, MimasUnreachable) and not isinstance(error, EventNotTaken):
                raise
            self._note_trouble(file, error)
            return None
        self._trouble.pop(file.path, None)
        await asyncio.to_thread(self._remove, file)
        self.on_sent(file, runs)
        return runs

    def _note_trouble(self, file: DropFile, error: Exception) -> None:
        """Raise the error while it may be everyone's; let others overtake an event that always has it."""
        trouble = self._trouble.setdefault(file.path, _Trouble(file.collection, error))
        trouble.answers += 1
        trouble.error = error
        # ISPyB is asked for few of them: the others needn't wait for it
        tries_in_order = 1 if isinstance(error, DatabaseUnavailable) else TRIES_IN_ORDER
        if trouble.answers < tries_in_order:
            raise error
        if trouble.answers == tries_in_order:
            logger.warning("%s isn't taken, others go before it: %s", escaped(str(file.content)), error)
        rest = min(LOOK_S * 2.0 ** (trouble.answers - tries_in_order), _LONGEST_REST_S)
        trouble.rests_until = time.monotonic() + rest

    def _remove(self, file: DropFile) -> None:
        try:
            file.path.unlink(missing_ok=True)
        except OSError as error:
            self._stuck.add(file.path)
            logger.warning(
                "%s needn't be sent again, but its file %s can't be removed: %s",
                escaped(str(file.content)),
                file.path,
                error.strerror,
            )

    def _refuse(self, path: Path, why: Exception) -> None:
        try:
            aside = self.folder.refuse(path, str(why))
        except OSError as error:
            self._stuck.add(path)
            logger.warning(
                "%s can't be sent (%s) nor moved aside: %s", escaped(str(path)), escaped(str(why)), error.strerror
            )
        else:
            logger.warning("can't be sent: %s; it was moved to %s", escaped(str(why)), escaped(str(aside)))


async def deliver_forever(folder: DropFolder) -> None:
    """Deliver what waits and what comes, until this is cancelled; whatever goes wrong, it goes on."""
    delivery = Delivery(folder)
    is_away = False
    while True:
        rest = LOOK_S
        try:
            sent = await _deliver_if_any(delivery)
            if sent:
                logger.warning("sent %d event(s) or request(s) that had waited in %s", len(sent), folder.path)
            is_away = False
            rest = _PAUSE_S if delivery.is_cut_short else LOOK_S
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


async def _deliver_if_any(delivery: Delivery) -> dict[Path, tuple[StartedRun, ...]]:
    """Make the folder, which says that events can be kept here; take the lock only when there's something to send."""
    await asyncio.to_thread(delivery.folder.make)
    if not await asyncio.to_thread(delivery.folder.files):
        return {}
    async with delivery.folder.lock():
        return await delivery.send_waiting()
