"""How the bridge is: what it does and has done, in a file of the home that `plaza status` reads."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError

from tasks.step.atomic_file import write_atomically

logger = logging.getLogger(__name__)

FILE: Final = Path("bridge", "state.json")
"""In the home folder."""
WRITTEN_S: Final = 6.0
"""It's written as often, and upon each change of the connection."""
STALE_S: Final = 30.0


class _Account(BaseModel):
    """What the bridge says of itself; times are in seconds since the epoch.

    Parameters
    ----------
    broker
        Its address; none: the site has set none.
    connected_since
        None: the broker is away.
    taken, rejected, published
        Messages since the start of the process.
    held
        Messages that wait for something that's away, ISPyB for instance.
    waiting
        Messages that are in the queue.
    outbox
        Messages that wait to be published.
    not_taken_by
        Queues and exchanges that some of those are for, and that don't take them.
    warnings
        What somebody should look at though messages are taken.
    last_error
        What went wrong last, and when.
    """

    broker: str | None = None
    connected_since: float | None = None
    taken: int = 0
    rejected: int = 0
    published: int = 0
    held: int = 0
    waiting: int = 0
    outbox: int = 0
    not_taken_by: str = ""
    warnings: tuple[str, ...] = ()
    last_error: str = ""
    last_error_at: float | None = None


class BridgeState(_Account):
    """How the bridge was when it last said so."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    pid: int
    written_at: float
    started_at: float

    def is_of(self, pid: int) -> bool:
        """Tell whether it's of this process, and fresh."""
        return self.pid == pid and time.time() - self.written_at < STALE_S


def read_state(home: Path) -> BridgeState | None:
    """Return how the bridge of a home was; None: it never said so, or that can't be read."""
    try:
        return BridgeState.model_validate_json((home / FILE).read_bytes())
    except (OSError, ValidationError):
        return None


class Tally(_Account):
    """The bridge's own account of itself, which it writes into the file of its home."""

    connections: int = 0
    _home: Path
    _started_at: float = PrivateAttr(default_factory=time.time)
    _can_write: bool = True

    def __init__(self, home: Path, **told: Any) -> None:
        super().__init__(**told)
        self._home = home

    def note_connection(self) -> None:
        """Remember that the broker is there, since now."""
        self.connected_since = time.time()
        self.connections += 1

    def note_error(self, error: str) -> None:
        """Remember what went wrong last."""
        self.last_error, self.last_error_at = error, time.time()

    def write(self) -> None:
        """Write the file; a disk that is full keeps nobody from working."""
        told = self.model_dump(exclude={"connections"})
        state = BridgeState(pid=os.getpid(), written_at=time.time(), started_at=self._started_at, **told)
        try:
            write_atomically(self._home / FILE, state.model_dump_json(indent=2).encode() + b"\n")
            self._can_write = True
        except OSError as error:
            if self._can_write:
                logger.warning("%s can't be written: %s", self._home / FILE, error.strerror)
            self._can_write = False
