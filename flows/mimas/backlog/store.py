"""The folder of held jobs: a file each, which several processes may hold, list and release at the same time."""

from __future__ import annotations

import fcntl
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Final

from blocks.home_folder import HELD_JOBS, make_folder
from blocks.identifiers import JobId
from blocks.settings import get_settings
from flows.mimas.backlog.held_job import HeldJob
from tasks.step.atomic_file import write_atomically

logger = logging.getLogger(__name__)

KNOWN_AS_RELEASED_S: Final = 90 * 86400.0


@dataclass(frozen=True)
class Backlog:
    """The held jobs of a home folder.

    A job that was released is remembered, so that the event that asked for it, told again, doesn't hold it once more.
    """

    path: Path

    @classmethod
    def of(cls, home: Path | None = None) -> Backlog:
        """Return that of a home folder."""
        return cls((home or get_settings().home) / HELD_JOBS)

    def hold(self, job: HeldJob) -> bool:
        """Hold a job: durably, once however often it's held, and not if it has been released.

        Returns
        -------
        bool
            It's held now; False: it has been released before.

        Raises
        ------
        OSError
            It can't be kept.
        """
        with self._lock():
            before = _read_if_there(self._file(job.name))
            if before is None or before.message != job.message:  # job numbers begin anew in a new ISPyB
                if self._was_released(job):
                    return False
                write_atomically(self._file(job.name), job.model_dump_json().encode())
            return True

    def held(self) -> list[HeldJob]:
        """Return all held jobs, the one first that has waited longest; of what can't be read, a warning."""
        found = [job for file in sorted(self.path.glob("*.json")) if (job := _read_or_warn(file)) is not None]
        return sorted(found, key=attrgetter("since", "name"))

    def find(self, name: str | JobId) -> HeldJob | None:
        """Return a held job by its number or its name; None: it isn't held."""
        called = name if isinstance(name, str) else f"job-{name}"
        return _read_if_there(self._file(called)) if Path(called).name == called else None

    def release(self, job: HeldJob) -> bool:
        """Take a job out once it has been started: before, a crash would lose it.

        Returns
        -------
        bool
            It was held; False: somebody else has released it.
        """
        make_folder(self._released)
        with self._lock():
            self._forget_old()
            try:
                self._file(job.name).replace(self._file(job.name, released=True))
            except FileNotFoundError:
                return False
            return True

    @property
    def _released(self) -> Path:
        return self.path / "released"

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Be the only process that holds or releases, for as long as it takes to write a file."""
        make_folder(self.path)
        with (self.path / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _file(self, name: str, *, released: bool = False) -> Path:
        return (self._released if released else self.path) / f"{name}.json"

    def _was_released(self, job: HeldJob) -> bool:
        before = _read_if_there(self._file(job.name, released=True))
        return before is not None and before.message == job.message

    def _forget_old(self) -> None:
        forgotten = time.time() - KNOWN_AS_RELEASED_S
        for file in self._released.glob("*.json"):
            with suppress(FileNotFoundError):
                if file.stat().st_mtime < forgotten:
                    file.unlink()


def _read_if_there(file: Path) -> HeldJob | None:
    try:
        return _read(file)
    except (OSError, ValueError):
        return None


def _read_or_warn(file: Path) -> HeldJob | None:
    try:
        return _read(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        logger.warning(
            "the held job in %s can't be read, so nobody starts it: expected one of Plaza's; %s", file, error
        )
        return None


def _read(file: Path) -> HeldJob:
    return HeldJob.model_validate(json.loads(file.read_bytes()))
