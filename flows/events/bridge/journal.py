"""What the bridge has taken and the broker may not know of yet: kept in the home, so that nothing is run twice.

The broker brings a message again if the bridge or the connection dies before it's told that the message was taken, and
gives it no id to know it by. So each delivery gets a mark, by which its runs are made once, and an empty file that is
named after its content and mark. What is brought *again* finds its mark by its content; the same content sent once more
on purpose is new to the broker, and gets a mark of its own. Both are noted as they arrive, and of the two the one that
was accepted is found last: so the second isn't taken for the first.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from tasks.broker_outbox import sync_folder

FOLDER: Final = Path("bridge", "journal")
"""In the home folder."""
FORGOTTEN_AFTER_S: Final = 600.0
"""So long after the connection is back the broker has brought again what it brings: it takes it up to three minutes to
see that a connection is dead."""
_BEGUN: Final = "begun"
_ACCEPTED: Final = "accepted"


@dataclass(eq=False)
class Delivery:
    """A message that the broker has brought, until it knows what became of it.

    Parameters
    ----------
    mark
        By which its runs are made once.
    is_accepted
        What it asks for is safe in the home, or done.
    """

    digest: str
    mark: str
    is_accepted: bool = False

    @property
    def file_name(self) -> str:
        """Return the name of its file, which says all there is to say."""
        return f"{self.digest}.{self.mark}.{_ACCEPTED if self.is_accepted else _BEGUN}"


@dataclass
class Journal:
    """The deliveries of a home's bridge, from any thread; it writes to the disk."""

    folder: Path
    _left: list[Delivery] = field(default_factory=list)  # of earlier connections and processes
    _at_hand: set[Delivery] = field(default_factory=set)
    _connected_at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, home: Path) -> Journal:
        """Read the journal of a home.

        Raises
        ------
        OSError
            It can't be read, or its folder can't be made.
        """
        folder = home / FOLDER
        folder.mkdir(mode=0o770, parents=True, exist_ok=True)
        left = [delivery for file in sorted(folder.iterdir()) if (delivery := _read_name(file.name)) is not None]
        return cls(folder, left)

    def connected(self) -> None:
        """Expect again what was at hand: its connection is lost."""
        with self._lock:
            self._left += self._at_hand
            self._at_hand.clear()
            self._connected_at = time.monotonic()

    def take(self, digest: str, *, again: bool) -> Delivery:
        """Return the delivery of a message: what it was before, if it's brought again, else a new one.

        Raises
        ------
        OSError
            It can't be noted.
        """
        with self._lock:
            delivery = self._find(digest) if again else None
            if delivery is not None:
                self._left.remove(delivery)
                self._at_hand.add(delivery)
                return delivery
        delivery = Delivery(digest, uuid4().hex)
        (self.folder / delivery.file_name).touch()
        sync_folder(self.folder)
        with self._lock:
            self._at_hand.add(delivery)
        return delivery

    def _find(self, digest: str) -> Delivery | None:
        # One that wasn't accepted, first: of two that can't be told apart, none is left out
        same = sorted((each for each in self._left if each.digest == digest), key=lambda each: each.is_accepted)
        return same[0] if same else None

    def accept(self, delivery: Delivery) -> None:
        """Note that what a message asks for is safe.

        Raises
        ------
        OSError
            It can't be noted: brought again, it's asked for again by the same mark.
        """
        before = self.folder / delivery.file_name
        after = Delivery(delivery.digest, delivery.mark, is_accepted=True)
        before.rename(self.folder / after.file_name)
        delivery.is_accepted = True
        sync_folder(self.folder)

    def forget(self, delivery: Delivery) -> None:
        """Forget a message: the broker knows what became of it."""
        with self._lock:
            self._at_hand.discard(delivery)
        (self.folder / delivery.file_name).unlink(missing_ok=True)

    def forget_old(self) -> None:
        """Forget what the broker doesn't bring again, since it knew of it."""
        with self._lock:
            if time.monotonic() - self._connected_at <= FORGOTTEN_AFTER_S:
                return
            old, self._left = self._left, []
        for delivery in old:
            (self.folder / delivery.file_name).unlink(missing_ok=True)


def digest_of(queue: str, body: bytes, headers: Mapping[str, Any], message_id: str | None) -> str:
    """Return what tells a message from others of other content, the same whenever it's brought."""
    sender = [headers.get(f"zocalo.go.{name}") for name in ("user", "host")]
    content = b"\0".join([queue.encode(), repr((sender, message_id)).encode(), body])
    return hashlib.sha256(content).hexdigest()[:32]


def _read_name(name: str) -> Delivery | None:
    digest, _, rest = name.partition(".")
    mark, _, state = rest.partition(".")
    return Delivery(digest, mark, state == _ACCEPTED) if state in (_BEGUN, _ACCEPTED) else None
