"""What a recipe run's journal says: an entry for each thing that happened to its messages.

In the file each is a JSON object whose `type` is its kind. Times are in seconds since the epoch; node 0 is the start,
or an operator.
"""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from flows.recipe.run_record.lenient_json import convert, decode
from tasks.step import Note

# Entries are made by the million, and none can be part of a circle: the garbage collector needn't look at them.


class Receiver(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A node that a message was sent to, the number that it has there, and when it was to be delivered, if later."""

    node: int
    number: int
    due: float | None = None


class HistoryEntry(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What happened to a message: the `error` of a failure, or what an operator has `done`, and which one (`by`)."""

    at: float
    error: str | None = None
    done: str | None = None
    by: str | None = None


class SentMessage(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A message that was sent, to each of its receivers.

    Parameters
    ----------
    follows
        The message that it's the answer to.
    environment
        None: that of the start.
    again
        If it brings an old message once more: the first one of this content.
    replaces
        The last one of this content, which failed; None: the first.
    history
        What happened to this content before; None: what the journal says of the first.
    """

    to: Sequence[Receiver]
    payload: Any = None
    output: str | None = None
    follows: int | None = None
    environment: Mapping[str, Any] | None = None
    again: int | None = None
    replaces: int | None = None
    history: Sequence[HistoryEntry] | None = None


class _Entry(msgspec.Struct, frozen=True, tag_field="type", omit_defaults=True, gc=False):
    at: float


class Began(_Entry, frozen=True, tag="began"):
    """A process took the run up."""

    host: str
    pid: int
    user: str

    @classmethod
    def now(cls) -> Began:
        """Say that this process takes the run up."""
        return cls(time.time(), socket.gethostname(), os.getpid(), getpass.getuser())


class Ended(_Entry, frozen=True, tag="ended"):
    """A process came to the run's end, in a state of Prefect's with its message."""

    state: str | None
    message: str | None = None


class Sent(_Entry, frozen=True, tag="sent"):
    """A node sent messages, and was done with others at the same time."""

    node: int
    sends: Sequence[SentMessage]
    done: Sequence[int] = ()


class Done(_Entry, frozen=True, tag="done"):
    """A node was done with messages whose answers went to nobody; how many these were, by output."""

    node: int
    done: Sequence[int]
    unheard: Mapping[str, int] = {}


class Failed(_Entry, frozen=True, tag="failed"):
    """A node failed with a message and will try again."""

    node: int
    number: int
    error: str


class Refused(_Entry, frozen=True, tag="refused"):
    """A node refused a message for good; it's sent along error links."""

    node: int
    number: int
    error: str
    sends: Sequence[SentMessage] = ()


class LeftUndone(_Entry, frozen=True, tag="left-undone"):
    """A node isn't done with messages, and nothing more will come of them before the run is taken up again.

    Parameters
    ----------
    left
        Messages, by number; empty: the node gave no answer, though it holds none that would come again.
    is_heard
        Another node heard of it, so that it's no fault of the run.
    """

    node: int
    left: Sequence[int]
    reason: str
    is_heard: bool = False


class Noted(_Entry, frozen=True, tag="noted"):
    """A node said of its work, in numbers, what adds to what it had said before."""

    node: int
    notes: Sequence[Note]


class Repeated(_Entry, frozen=True, tag="repeated"):
    """Nodes begin anew: what they did doesn't count, and what waits for them is sent again, by this entry."""

    nodes: Sequence[int]
    sends: Sequence[SentMessage] = ()


Entry = Began | Ended | Sent | Done | Failed | Refused | LeftUndone | Noted | Repeated

_TYPED: Final = b'{"type"'  # msgspec writes the tag first; Plaza 0.1 had none
_DECODER: Final = msgspec.json.Decoder(Entry)


def decode_entry(line: bytes) -> Entry:
    """Return the entry of a line.

    Raises
    ------
    ValueError
        It holds none.
    """
    if line.startswith(_TYPED):
        try:
            entry: Entry = _DECODER.decode(line)
        except msgspec.DecodeError:  # lone surrogates, if it isn't damaged
            return _converted(decode(line, dict))
        return entry
    return _entry_of_version_0_1(decode(line, dict))


def _entry_of_version_0_1(old: Mapping[str, Any]) -> Entry:
    """Return an entry of a journal that Plaza 0.1 wrote: its keys said what kind it was."""
    for kind in ("began", "ended"):
        if kind in old:
            said = old[kind] if isinstance(old[kind], Mapping) else {}
            return _converted({"at": 0.0, **said, "type": kind})
    fields = {"at": 0.0, "node": 0, **old}
    if "repeated" in old:
        return _converted({**fields, "type": "repeated", "nodes": old["repeated"]})
    if "refused" in old:
        return _converted({**fields, "type": "refused", "number": old["refused"]})
    if "tried" in old:
        return _converted({**fields, "type": "failed", "number": old["tried"]})
    return _converted({**fields, "type": "sent" if old.get("sends") else "done"})


def _converted(fields: Mapping[str, Any]) -> Entry:
    entry: Entry = convert(fields, Entry)
    return entry
