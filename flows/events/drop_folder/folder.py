"""The drop folder of a home: events and requests that Prefect's server hasn't accepted yet, a JSON file each."""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

from blocks.errors import PlazaError
from blocks.home_folder import make_folder
from blocks.retrying import Pauses, retry
from blocks.settings import get_settings
from flows.display_text import printable
from flows.events.drop_folder.file import DroppedRequest
from flows.events.event import CollectionEvent
from tasks.step.atomic_file import write_atomically

MOST_FILES: Final = 1000  # that are read at a time: there may be any number
_REASON_SUFFIX: Final = ".reason"
_MOST_NAME_BYTES: Final = 200  # of a file that is moved aside: its reason's name is longer, and 255 is the most
_MOST_REASON_BYTES: Final = 4096
_LOCK_PAUSES: Final = Pauses(first_s=0.02, longest_s=0.2)
# zocalo.go gives its drop files such names, without .json
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


class LockTaken(PlazaError):
    """Somebody else is sending what is in the folder."""


@dataclass(frozen=True)
class DropFolder:
    """Where events and requests wait; any number of writers, and one sender at a time, on several hosts too."""

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

    def keep(self, content: CollectionEvent | DroppedRequest) -> Path:
        """Keep an event or a request, safe from a power cut once this returns.

        Raises
        ------
        OSError
            It can't be kept: the disk is full, for instance.
        """
        if isinstance(content, CollectionEvent):
            at, what = content.at or datetime.now(UTC), f"{content.event}-{content.dcid}"
            text = content.model_dump_json(by_alias=True, exclude_defaults=True, indent=2)
        else:
            at, what = datetime.now(UTC), "request"
            text = content.model_dump_json(exclude_none=True, indent=2)
        # In the order of their times by name; two writers at the same moment, on two hosts, never take the same one
        name = f"{at.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}-{what}-{uuid4().hex[:12]}.json"
        path = self.path / name
        write_atomically(path, text.encode() + b"\n")
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)  # its name, too
        finally:
            os.close(descriptor)
        return path

    def files(self) -> list[Path]:
        """Return what may be events or requests, by name: what ends in .json and isn't hidden, or is a UUID."""
        try:
            with os.scandir(self.path) as entries:
                names = [entry.name for entry in entries if _is_to_be_sent(entry.name)]
        except FileNotFoundError:
            return []
        return [self.path / name for name in sorted(names)[:MOST_FILES]]

    def refuse(self, path: Path, reason: str) -> Path:
        """Move a file aside, write beside it why, and return where it is."""
        self.refused.mkdir(mode=0o770, exist_ok=True)
        stem, suffix = path.stem, path.suffix
        if is_long := len(os.fsencode(path.name)) > _MOST_NAME_BYTES:
            stem, suffix = _shortened(stem), _shortened(suffix)
        aside = self.refused / f"{stem}{suffix}"
        if is_long or os.path.lexists(aside):
            aside = aside.with_name(f"{stem}-{uuid4().hex[:8]}{suffix}")
        # First: whoever sees the file there finds its reason
        write_atomically(_reason_file(aside), (printable(reason) + "\n").encode(errors="backslashreplace"))
        path.rename(aside)
        return aside

    def reason(self, aside: Path) -> str:
        """Return why a file was moved aside; an empty text if that isn't known."""
        try:
            with _reason_file(aside).open("rb") as file:
                return file.read(_MOST_REASON_BYTES).decode(errors="replace").strip()
        except OSError:
            return ""

    def take_back(self, aside: Path) -> None:
        """Remove a file that was moved aside: whoever wrote it has been told why."""
        aside.unlink(missing_ok=True)
        _reason_file(aside).unlink(missing_ok=True)

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


def _is_to_be_sent(name: str) -> bool:
    return (name.endswith(".json") and name[0] != ".") or _UUID.fullmatch(name) is not None


def _shortened(name: str) -> str:
    return os.fsdecode(os.fsencode(name)[: _MOST_NAME_BYTES // 2])


def _reason_file(aside: Path) -> Path:
    return aside.with_name(aside.name + _REASON_SUFFIX)


def make_drop_folder() -> None:
    """Make the drop folder of this process's home, where there may never have been a site, unless another API is meant.

    Raises
    ------
    OSError
        It can't be made.
    """
    if "PREFECT_API_URL" not in os.environ:
        home = get_settings().home
        make_folder(home)
        DropFolder.of(home).make()


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
