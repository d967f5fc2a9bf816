"""A file of the drop folder: an event, or a request in the form of Zocalo's own drop files.

Files of other writers are read as carefully as anything from outside: docs/reference/event-files.md has the format.
"""

from __future__ import annotations

import codecs
import errno
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from blocks.errors import PlazaError
from blocks.validation_faults import describe
from flows.display_text import shortened
from flows.events.event import CollectionEvent
from flows.events.request import RunRequest

MOST_BYTES: Final = 1024 * 1024  # a custom recipe, with indents
_REASON_CHARACTERS: Final = 500
_MARK_CHARACTERS: Final = 200


class InvalidDropFile(PlazaError):
    """A file that can be read neither as an event nor as a request, or not yet: it may be half written."""


class DroppedRequest(BaseModel):
    """A request as `zocalo.go` leaves it in its fallback folder; other keys are ignored, as `zocalo.pickup` does."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    headers: Mapping[str, Any] = Field({}, description="Of Zocalo's message: who asks, on which host")
    message: RunRequest = Field(description="What is to be run")
    mark: Annotated[str, Field(min_length=1, max_length=_MARK_CHARACTERS)] | None = Field(
        None, description="Plaza's own: two files of one mark are the same request"
    )

    @property
    def sender(self) -> str:
        """Who asks, and on which host."""
        said = [self.headers.get(f"zocalo.go.{key}") for key in ("host", "user")]
        return shortened(" ".join(str(word) for word in said if word), _MARK_CHARACTERS)

    @property
    def collection(self) -> str | None:
        """What it's about, if it says so: requests and events of one data collection aren't to overtake one another."""
        parameters = self.message.parameters
        for kind, name in (("dcid", "ispyb_dcid"), ("job", "ispyb_process")):
            if parameters.get(name):
                return f"{kind} {shortened(str(parameters[name]).strip(), _MARK_CHARACTERS)}"
        return None

    def __str__(self) -> str:
        what = [*self.message.recipes, *(["a custom recipe"] if self.message.custom_recipe else [])]
        about = self.collection
        return shortened(f"{', '.join(what) or 'a recipe'}{f' for {about}' if about else ''}", _REASON_CHARACTERS)


@dataclass(frozen=True)
class DropFile:
    """What a file of the drop folder holds.

    Parameters
    ----------
    at
        When an event happened; else when the file was written.
    mark
        Tells this file from any other, also from an earlier one of its name: sent twice, it's the same.
    """

    path: Path
    content: CollectionEvent | DroppedRequest
    at: datetime
    mark: str

    @property
    def collection(self) -> str | None:
        """What it's about: `dcid 7`, `job 42` or unknown."""
        content = self.content
        return f"dcid {content.dcid}" if isinstance(content, CollectionEvent) else content.collection

    @property
    def reads_ispyb(self) -> bool:
        """Whether ISPyB must say what is to be run: the recipe of a job."""
        content = self.content
        return isinstance(content, DroppedRequest) and not (content.message.recipes or content.message.custom_recipe)

    @property
    def sender(self) -> str:
        """Who says so."""
        return self.content.sender


def read_drop_file(path: Path) -> DropFile:
    """Read a file of the drop folder, whatever it is.

    Raises
    ------
    InvalidDropFile
        It can't be read as an event or a request; the message says why.
    FileNotFoundError
        It's gone: somebody else has sent it.
    """
    try:
        return _read(path)
    except (FileNotFoundError, InvalidDropFile):
        raise
    except ValidationError as error:
        reason = describe(error, most=3)
    except OSError as error:
        reason = "it can't be read: " + ("it's a symbolic link" if error.errno == errno.ELOOP else str(error.strerror))
    except Exception as error:  # whatever a file can bring about, it's that of one file: others are sent all the same
        reason = f"it can't be read as an event or a request: {error!r}"
    raise InvalidDropFile(shortened(reason, _REASON_CHARACTERS))


def _read(path: Path) -> DropFile:
    text, changed = _read_file(path)
    if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InvalidDropFile("it's written in UTF-16: expected UTF-8")
    identity = hashlib.sha256(f"{path.name}\0{changed}\0".encode(errors="surrogateescape") + text)
    mark = identity.hexdigest()[:32]
    text = text.removeprefix(codecs.BOM_UTF8)  # as editors and shells of Windows begin a file
    if _is_request(text):
        request = DroppedRequest.model_validate_json(text)
        return DropFile(path, request, _time_of(changed), request.mark or mark)
    event = CollectionEvent.model_validate_json(text)
    return DropFile(path, event, event.at or _time_of(changed), mark)


def _is_request(text: bytes) -> bool:
    try:
        value = json.loads(text)
    except ValueError:  # pydantic says better what is wrong
        return False
    return isinstance(value, dict) and "message" in value


def _time_of(changed: int) -> datetime:
    """Return the time of a file as one that can be said: file systems have years that calendars here don't.

    Raises
    ------
    InvalidDropFile
        It's none between the years 1 and 9999.
    """
    try:
        return datetime.fromtimestamp(changed / 1e9, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidDropFile(
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
            raise InvalidDropFile("it's no plain file")
        if found.st_size > MOST_BYTES:
            raise InvalidDropFile(f"it has {found.st_size} bytes: expected {MOST_BYTES} at most")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(MOST_BYTES), found.st_mtime_ns
    finally:
        os.close(descriptor)
