"""What may stand in the JSON that is sent to Prefect's API.

PostgreSQL takes no NUL and no half of a surrogate pair in JSON, and Prefect answers 500 to everybody who lists runs
while one of them holds a number beyond 64 bits (PrefectHQ/prefect issue 15031). What somebody asks for with such a
value is refused; what a run reports with one (logs, events, states, artifacts) is cleaned: Prefect's clients send many
of them at once, and drop them all when they are refused.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from pydantic_core import from_json

MOST_BYTES = 16 * 1024 * 1024  # Prefect's own clients send 4 MB of logs at most
MOST_LEVELS = 200  # of lists and objects in one another, which pydantic's parser reads; Prefect's library writes 254
_LARGEST = 2**63 - 1
# A NUL byte: JSON in UTF-16, too, which Prefect would read. NUL as an escape, and what Python takes for numbers
_SUSPICIOUS = (b"\0", b"\\u0000", b"NaN", b"Infinity")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_DIGITS_ALIKE = bytes.maketrans(b"123456789E", b"000000000e")
_MOST_DIGITS = b"0" * 19
_LARGE_EXPONENT = re.compile(rb"(?:^|[\s:,\[])-?[0-9]+(?:\.[0-9]+)?[eE]\+?[0-9]{2}")  # not within an id, as in 3e45-…
_HALF_PAIR = re.compile("[\ud800-\udfff]")
_REPORTS = re.compile(r"/api/(?:(?:logs|events|artifacts)/?|(?:flow|task)_runs/[^/]+/set_state/?)")


class BodyRefused(ValueError):
    """Prefect's API couldn't bear it; the message says why."""


def is_report(path: str) -> bool:
    """Tell whether what is sent there is what a run reports."""
    return _REPORTS.fullmatch(path) is not None


def checked(body: bytes, *, clean: bool) -> bytes:
    """Return JSON that Prefect's API can bear.

    Parameters
    ----------
    clean
        Mend what it can't bear rather than refuse it.

    Raises
    ------
    BodyRefused
        It can't bear this.
    """
    if body.count(b"[") + body.count(b"{") > MOST_LEVELS:
        _check_levels(body)
    if not _is_suspicious(body):
        return body
    try:
        value = json.loads(body.decode(), parse_int=_whole_number)
    except UnicodeDecodeError as error:
        raise BodyRefused("it isn't UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise BodyRefused(f"it isn't JSON: {error}" if "\0" not in body.decode() else "it holds a NUL byte") from error
    mended = _mended(value, clean=clean)
    return body if mended == value else json.dumps(mended).encode()


def _is_suspicious(body: bytes) -> bool:
    """Tell whether it has to be parsed; quick, since every request pays for it and few are."""
    if any(part in body for part in _SUSPICIOUS):
        return True
    if b"\\u" in body and _SURROGATE.search(body):
        return True
    alike = body.translate(_DIGITS_ALIKE)
    if _MOST_DIGITS in alike:
        return True
    return (b"0e0" in alike or b"0e+0" in alike) and _LARGE_EXPONENT.search(body) is not None


def _check_levels(body: bytes) -> None:
    try:
        from_json(body)
    except ValueError as error:
        if "recursion limit" in str(error):
            raise BodyRefused(f"lists and objects stand in one another in more than {MOST_LEVELS} levels") from error
        raise BodyRefused(f"it isn't JSON: {error}") from error


def _whole_number(digits: str) -> int | float:
    return int(digits) if len(digits) <= 20 else math.inf  # Python refuses those of more than 4300 digits


def _mended(value: Any, *, clean: bool) -> Any:
    """Return a value without what can't be borne, or raise unless it's to be cleaned."""
    if isinstance(value, dict):
        return {_mended(key, clean=clean): _mended(below, clean=clean) for key, below in value.items()}
    if isinstance(value, list):
        return [_mended(below, clean=clean) for below in value]
    fault = _fault(value)
    if fault is None:
        return value
    if not clean:
        raise BodyRefused(fault)
    return _HALF_PAIR.sub("\ufffd", value.replace("\0", "")) if isinstance(value, str) else None


def _fault(value: Any) -> str | None:
    if isinstance(value, str):
        if "\0" in value:
            return "a text holds a NUL character"
        if _HALF_PAIR.search(value):
            return "a text holds half a character (a surrogate)"
    elif isinstance(value, int | float) and not -_LARGEST <= value <= _LARGEST:  # nor is NaN
        return "a number needs more than 64 bits"
    return None
