"""Read what arrives for the queue `processing_recipe`, whatever it is, and say what's wrong with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from blocks.errors import PlazaError
from blocks.validation_faults import describe
from flows.display_text import escaped, shortened
from flows.events.request import RunRequest

MOST_BYTES: Final = 512 * 1024  # a custom recipe takes tens of thousands; a file of the drop folder has indents, too
_EXPECTED: Final = (
    'expected {"recipes": [names], "parameters": {…}}, or a "custom_recipe", or a job: "ispyb_process" in "parameters"'
)
_SEEN_CHARACTERS: Final = 200
_NAME_CHARACTERS: Final = 100
_HEADER_CHARACTERS: Final = 1000


class BadMessage(PlazaError):
    """A message that no run can be made of, today or later."""


def read_request(body: bytes) -> RunRequest:
    """Read the body of a message.

    Raises
    ------
    BadMessage
        It's no request.
    """
    if len(body) > MOST_BYTES:
        raise BadMessage(f"it has {len(body)} bytes: expected {MOST_BYTES} at most. Hand over ids or names of files")
    content = _read_json(body)
    if not isinstance(content, dict):
        raise BadMessage(f"it's JSON but no object: {_EXPECTED}")
    try:
        return RunRequest.model_validate(content)
    except ValidationError as error:
        raise BadMessage(f"{describe(error, most=3)}: {_EXPECTED}") from error


def _read_json(body: bytes) -> Any:
    try:
        content = json.loads(body.decode())
        json.dumps(content, ensure_ascii=False, allow_nan=False).encode()  # what JSON and UTF-8 can't say again
    except RecursionError:
        raise BadMessage("it's JSON whose lists and objects are in one another hundreds of times") from None
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError are some, as are NaN and half a surrogate
        reason = shortened(str(error), _SEEN_CHARACTERS)
        raise BadMessage(f"it isn't JSON in UTF-8 ({reason}): {_EXPECTED}") from error
    return content


def seen(body: bytes) -> str:
    """Return the beginning of a body as a line may show it."""
    excerpt = body[:_SEEN_CHARACTERS].decode(errors="backslashreplace")
    return f"{excerpt!r}{' …' if len(body) > _SEEN_CHARACTERS else ''}"


def sender_of(headers: Mapping[str, Any]) -> str:
    """Return who sent a message, as far as it says so."""
    user, host = (headers.get(f"zocalo.go.{name}") for name in ("user", "host"))
    said = " at ".join(_plain(name) for name in (user, host) if name is not None)
    return said or "a sender who gives no name"


def _plain(value: Any) -> str:
    text = value.decode(errors="backslashreplace") if isinstance(value, bytes | bytearray) else str(value)
    return shortened(escaped(text), _NAME_CHARACTERS)


def kept_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message's headers as JSON may keep them: numbers and short texts as they are, all else as text."""
    return {_plain(name): _kept(value) for name, value in headers.items()}


def _kept(value: Any) -> Any:
    if value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) < 2**53):
        return value
    text = value.decode(errors="backslashreplace") if isinstance(value, bytes | bytearray) else str(value)
    return shortened(escaped(text), _HEADER_CHARACTERS)
