"""The drop folder of a home: events that Prefect's server hasn't accepted yet, a JSON file each.

Files of other writers are read as carefully as anything from outside: docs/reference/event-files.md has the format.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

from pydantic import ValidationError

from blocks.errors import PlazaError
from blocks.retrying import Pauses, retry
from blocks.settings import get_settings
from blocks.validation_faults import describe
from flows.display_text import shortened
from flows.events.event import CollectionEvent
from tasks.step.atomic_file import write_atomically

MOST_BYTES: Final = 128 * 1024  # twice what an event's parameters may take, as JSON with indents
MOST_FILES: Final = 1000  # that are read at a time: there may be any number
_REASON_CHARACTERS: Final = 500
_LOCK_PAUSES: Final = Pauses(first_s=0.02, longest_s=0.2)


class LockTaken(PlazaError):
    """Somebody else is sending what is in the folder."""


class NoEvent(PlazaError):
    """A file that can't be read as an event, or not yet: it may be half written."""


@dataclass(frozen=True)
class KeptEvent:
    """An event in the drop folder.

    Parameters
    ----------
    at
        When it happened, or when its file was written if it doesn't say that.
    mark
        Tells this file from any other, also from an earlier one of its name: sent twice, it's the same.
    """

    path: Path
    event: CollectionEvent
    at: datetime
    mark: str


@dataclass(frozen=True)
class DropFolder:
    """Where events wait; any number of writers, and one sender at a time, on several hosts too."""

    path: Path

    @classmethod
    def of(cls, home: Path) -> DropFolder:
        """Return the drop folder of a home."""
        return cls(home / "events")

    @property
    def refused(self) -> Path:
        """Where files are that can't be sent: they are never deleted."""
        return self.path / "refused"

    def make(self) -> None:
        """Make the folder in its home unless it's there."""
        self.path.mkdir(mode=0o770, exist_ok=True)

    def keep(self, event: CollectionEvent) -> Path:
        """Keep an event, safe from a power cut once this returns.

        Raises
        ------
        OSError
            It can't be kept: the disk is full, for instance.
        """
        at = (event.at or datetime.now(UTC)).astimezone(UTC)
        # In the order of their times by name; two writers at the same moment, on two hosts, never take the same one
        path = self.path / f"{at:%Y%m%dT%H%M%S.%fZ}-{event.event}-{event.dcid}-{uuid4().hex[:12]}.json"
        write_atomically(path, event.model_dump_json(by_alias=True, exclude_defaults=True, indent=2).encode() + b"\n")
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)  # its name, too
        finally:
            os.close(descriptor)
        return path

    def files(self) -> list[Path]:
        """Return what may be events, by name: everything that ends in .json and isn't hidden."""
        try:
            with os.scandir(self.path) as entries:
                names = [entry.name for entry in entries if entry.name.endswith(".json") and entry.name[0] != "."]
        except FileNotFoundError:
            return []
        return [self.path / name for name in sorted(names)[:MOST_FILES]]

    def refuse(self, path: Path) -> Path:
        """Move a file aside, and return where it is."""
        self.refused.mkdir(mode=0o770, exist_ok=True)
        aside = self.refused / path.name
        if os.path.lexists(aside):
            aside = aside.with_name(f"{path.stem}-{uuid4().hex[:8]}.json")
        path.rename(aside)
        return aside

    @asynccontextmanager
    async def lock(self, patience_s: float = 0.0) -> AsyncIterator[None]:
        """Be the only sender inside the block.

        Raises
        ------
        LockTaken
            Another one is, for longer than `patience_s` seconds.
        OSError
            The folder can't be written.
        """
        self.make()
        descriptor = os.open(self.path / "lock", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)

        async def take() -> None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

        try:
            try:
                await retry(take, BlockingIOError, _LOCK_PAUSES, patience_s=patience_s)
            except BlockingIOError as error:
                raise LockTaken(f"somebody else is sending the events in {self.path}") from error
            except OSError as error:
                # A network file system without locks: an event that is sent twice at once is one run all the same
                if error.errno not in {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}:
                    raise
            yield
        finally:
            os.close(descriptor)


def drop_folder_at_hand() -> DropFolder | None:
    """Return the drop folder of the site whose client this process is; None if it's another home's, or none's."""
    home = get_settings().home
    # Whoever names another API means that one, and what is kept here would go to this home's
    if "PREFECT_API_URL" in os.environ and os.environ.get("PREFECT_HOME") != str(home / "prefect"):
        return None
    folder = DropFolder.of(home)
    try:
        return folder if folder.path.is_dir() else None  # a site's worker makes it
    except PermissionError:
        return None


def read_event(path: Path) -> KeptEvent:
    """Read an event from a file, whatever the file is.

    Raises
    ------
    NoEvent
        It can't be read as one; the message says why.
    FileNotFoundError
        It's gone: somebody else has sent it.
    """
    try:
        return _read_event(path)
    except (FileNotFoundError, NoEvent):
        raise
    except ValidationError as error:
        reason = describe(error, most=3)
    except OSError as error:
        reason = "it can't be read: " + ("it's a symbolic link" if error.errno == errno.ELOOP else str(error.strerror))
    except Exception as error:  # whatever a file can bring about, it's that of one file: others are sent all the same
        reason = f"it can't be read as an event: {error!r}"
    raise NoEvent(shortened(reason, _REASON_CHARACTERS))


def _read_event(path: Path) -> KeptEvent:
    content, changed = _read_file(path)
    event = CollectionEvent.model_validate_json(content)
    identity = hashlib.sha256(f"{path.name}\0{changed}\0".encode(errors="surrogateescape") + content)
    return KeptEvent(path, event, event.at or _time_of(changed), identity.hexdigest()[:32])


def _time_of(changed: int) -> datetime:
    """Return the time of a file as one that can be said: file systems have years that calendars here don't.

    Raises
    ------
    NoEvent
        It's none between the years 1 and 9999.
    """
    try:
        return datetime.fromtimestamp(changed / 1e9, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise NoEvent(
            f"its time is {changed / 1e9:.0f} s after 1970, a year that no calendar has, and it has no `at`: "
            "`touch` the file, or give the event its time"
        ) from error


def _read_file(path: Path) -> tuple[bytes, int]:
    """Return a file's content and when it was last written to (ns since the epoch)."""
    # Not to wait for a FIFO's writer; not to be led elsewhere by a link
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise NoEvent("it's no plain file")
        if found.st_size > MOST_BYTES:
            raise NoEvent(f"it has {found.st_size} bytes: expected {MOST_BYTES} at most")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(MOST_BYTES), found.st_mtime_ns
    finally:
        os.close(descriptor)
