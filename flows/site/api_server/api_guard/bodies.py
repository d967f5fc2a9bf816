"""What may stand in the JSON that is sent to Prefect's API.

PostgreSQL takes no NUL and no half of a surrogate pair in JSON, and JSON no NaN. Prefect has answered 500 to everybody
who lists runs while one of them held a whole number beyond 64 bits (PrefectHQ/prefect issue 15031), and some programs
read such a number wrongly: PostgreSQL's jsonb, in which parameters are kept, makes one of 1e25, too. What somebody asks
for with such a value is refused; what a run reports with one (logs, events, states, artifacts) is cleaned: Prefect's
clients send many of them at once, and drop them all when they are refused. A fraction such as 1e25 is a report's right.
"""

from __future__ import annotations

import json
import math
import re
from enum import Enum
from typing import Any

from pydantic_core import from_json

MOST_BYTES = 16 * 1024 * 1024  # Prefect's own clients send 4 MB of logs at most
MOST_LEVELS = 200  # of lists and objects in one another, which pydantic's parser reads; Prefect's library writes 254
_MOST_CUT = 250_000  # lists and objects in a body of which levels are cut: it takes 0.1 s, in which nobody is answered
_LARGEST = 2**63 - 1
# A NUL byte: JSON in UTF-16, too, which Prefect would read. NUL as an escape, and what Python takes for numbers
_SUSPICIOUS = (b"\0", b"\\u0000", b"NaN", b"Infinity")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_DIGITS_ALIKE = bytes.maketrans(b"123456789E", b"000000000e")
_MOST_DIGITS = b"0" * 19
_LARGE_EXPONENT = re.compile(rb"(?:^|[\s:,\[])-?[0-9]+(?:\.[0-9]+)?[eE]\+?[0-9]{2}")  # not within an id, as in 3e45-…
_HALF_PAIR = re.compile("[\ud800-\udfff]")
_RAW_SURROGATE = re.compile(rb"\xed[\xa0-\xbf]")  # no UTF-8, but Python's JSON reads it
_PARTS = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)
_LOOKED_AT = "/api/ui/schemas/"  # the UI has values checked there, by schemas that JavaScript has rounded
_REPORTS = re.compile(r"/api/(?:(?:logs|events|artifacts)/?|(?:flow|task)_runs/[^/]+/set_state/?)")


class BodyRefused(ValueError):
    """Prefect's API couldn't bear it; the message says why."""


class Use(Enum):
    """What Prefect's API does with a body."""

    ASKED = "it's what somebody asks for: what can't be borne is refused"
    REPORTED = "a run reports it: what can't be borne is taken out"
    LOOKED_AT = "it isn't kept: any number will do"


def use_of(path: str) -> Use:
    """Tell what becomes of what is sent to a path."""
    if path.startswith(_LOOKED_AT):
        return Use.LOOKED_AT
    return Use.REPORTED if _REPORTS.fullmatch(path) else Use.ASKED


def checked(body: bytes, use: Use) -> bytes:
    """Return JSON that Prefect's API can bear.

    Raises
    ------
    BodyRefused
        It can't bear this.
    """
    if body.count(b"[") + body.count(b"{") > MOST_LEVELS:
        body = _within_levels(body, use)
    if not _is_suspicious(body):
        return body
    try:
        text = body.decode(errors="replace" if use is Use.REPORTED else "strict")
        value = json.loads(text, parse_int=_whole_number)
    except UnicodeDecodeError as error:
        raise BodyRefused("it isn't UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise BodyRefused(f"it isn't JSON: {error}" if b"\0" not in body else "it holds a NUL byte") from error
    mended = _mended(value, use)
    return body if mended == value and text.encode() == body else json.dumps(mended).encode()


def _is_suspicious(body: bytes) -> bool:
    """Tell whether it has to be parsed; quick, since every request pays for it and few are."""
    if any(part in body for part in _SUSPICIOUS):
        return True
    if (b"\\u" in body and _SURROGATE.search(body)) or (b"\xed" in body and _RAW_SURROGATE.search(body)):
        return True
    alike = body.translate(_DIGITS_ALIKE)
    if _MOST_DIGITS in alike:
        return True
    return (b"0e0" in alike or b"0e+0" in alike) and _LARGE_EXPONENT.search(body) is not None


def _within_levels(body: bytes, use: Use) -> bytes:
    """Return a body as it is if it hasn't too many levels, else a report with null for what is below them."""
    try:
        from_json(body)
    except ValueError as error:
        if use is Use.REPORTED:
            return _cut(body)
        if "recursion limit" in str(error):
            raise BodyRefused(f"lists and objects stand in one another in more than {MOST_LEVELS} levels") from error
        raise BodyRefused(f"it isn't JSON: {error}") from error
    return body


def _cut(body: bytes) -> bytes:
    if body.count(b"[") + body.count(b"{") > _MOST_CUT:
        raise BodyRefused(f"it isn't JSON, or has too many levels, and more than {_MOST_CUT} lists and objects")
    kept, start, level = [], 0, 0
    for part in _PARTS.finditer(body):
        if part[0] in {b"[", b"{"}:
            level += 1
            if level == MOST_LEVELS + 1:
                kept += [body[start : part.start()], b"null"]
        elif part[0] in {b"]", b"}"}:
            level -= 1
            if level == MOST_LEVELS:
                start = part.end()
    if level:
        raise BodyRefused("it isn't JSON: lists or objects don't end")
    return b"".join([*kept, body[start:]])


def _whole_number(digits: str) -> int | float:
    return int(digits) if len(digits) <= 20 else math.inf  # Python refuses those of more than 4300 digits


def _mended(value: Any, use: Use) -> Any:
    """Return a value without what can't be borne, or raise unless it's to be cleaned."""
    if isinstance(value, dict):
        return {_mended(key, use): _mended(below, use) for key, below in value.items()}
    if isinstance(value, list):
        return [_mended(below, use) for below in value]
    fault = _fault(value, use)
    if fault is None:
        return value
    if use is not Use.REPORTED:
        raise BodyRefused(fault)
    return _HALF_PAIR.sub("\ufffd", value.replace("\0", "")) if isinstance(value, str) else None


def _fault(value: Any, use: Use) -> str | None:
    if isinstance(value, str):
        if "\0" in value:
            return "a text holds a NUL character"
        if _HALF_PAIR.search(value):
            return "a text holds half a character (a surrogate)"
    elif isinstance(value, int | float) and not -_LARGEST <= value <= _LARGEST:  # nor is NaN
        is_fraction = isinstance(value, float) and math.isfinite(value)
        if use is Use.ASKED or (use is Use.REPORTED and not is_fraction):
            return "a number needs more than 64 bits"
    return None
