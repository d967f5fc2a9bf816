"""Messages for RabbitMQ, a file each in the home folder: the bridge publishes them as soon as the broker takes them.

Recipe runs are many and short, so none of them speaks to the broker itself. A message is on the disk when `put`
returns.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

from blocks.broker_names import BrokerName
from blocks.settings import Settings, get_settings
from tasks.step.atomic_file import write_atomically

FOLDER: Final = Path("bridge", "outbox")
"""In the home folder."""
PUBLISHED: Final = "published"
"""In the outbox: what was published under a mark, so that it isn't put there again."""


class BrokerMessage(BaseModel):
    """A message for the broker, as its file holds it.

    Parameters
    ----------
    exchange, queue
        Where it goes: the queue's name is the routing key.
    written_at
        When what it says became so, in seconds since the epoch.
    expires_s
        How long after that it's of use; None: for ever.
    at_most_once
        It's rather not published than twice: if nobody knows whether it was, it's kept aside.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    queue: BrokerName
    body: Any
    exchange: BrokerName = ""
    headers: Mapping[str, Any] = {}
    written_at: float
    expires_s: float | None = Field(None, gt=0)
    at_most_once: bool = False


def is_there(settings: Settings) -> bool:
    """Tell whether this site has a bridge, which publishes what is put into the outbox."""
    return settings.bridge


def put(
    queue: str,
    body: Any,
    *,
    exchange: str = "",
    headers: Mapping[str, Any] = {},
    expires_s: float | None = None,
    at: float | None = None,
    mark: str | None = None,
    at_most_once: bool = False,
    home: Path | None = None,
) -> Path:
    """Have the bridge publish a message, safe from a power cut once this returns.

    Parameters
    ----------
    queue
        Name of the queue, or with an `exchange` the routing key.
    body
        What it says, as JSON.
    expires_s
        How long it's of use; what is older isn't published, and kept aside.
    at
        Since when, in seconds since the epoch; None: since now.
    mark
        Tells the message from any other: put again with the same mark and `at`, it's published once.
    at_most_once
        See `BrokerMessage`.
    home
        The home folder; None: that of this process.

    Returns
    -------
    Path
        Its file, which is gone, or among the published ones, once the broker has it.

    Raises
    ------
    ValidationError
        No queue or exchange can have the name.
    OSError
        It can't be kept: the disk is full, for instance.
    """
    written_at = time.time() if at is None else at
    message = BrokerMessage(
        queue=queue,
        body=body,
        exchange=exchange,
        headers=dict(headers),
        written_at=written_at,
        expires_s=expires_s,
        at_most_once=at_most_once,
    )
    folder = outbox_folder(home or get_settings().home)
    digest = hashlib.sha256((mark or uuid4().hex).encode(errors="surrogateescape")).hexdigest()[:24]
    path = folder / f"{max(0, int(written_at * 1000)):014d}-{digest}{'-once' if mark else ''}.json"  # oldest first
    if mark is not None and any(place.exists() for place in (path, folder / PUBLISHED / path.name)):
        return path
    write_atomically(path, message.model_dump_json().encode())
    sync_folder(folder)
    return path


def outbox_folder(home: Path) -> Path:
    """Return the outbox of a home."""
    return home / FOLDER


def sync_folder(folder: Path) -> None:
    """Have the names in a folder outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
