"""JSON that always can be written: what messages and parameters hold is whatever a step or ISPyB's driver makes."""

from __future__ import annotations

import json
from typing import Any, Final, TypeVar

import msgspec

T = TypeVar("T")


def encode(value: object) -> bytes:
    """Return a value as JSON in a line. What isn't JSON's becomes text; numbers that aren't finite become null."""
    try:
        return ENCODER.encode(value)
    except UnicodeEncodeError:  # lone surrogates, which json writes as escapes
        return json.dumps(msgspec.to_builtins(value, str_keys=True, enc_hook=_something_alike)).encode()


def decode(content: bytes, kind: type[T], *, is_strict: bool = True) -> T:
    """Return the value that JSON stands for.

    Parameters
    ----------
    is_strict
        Numbers may not be written as text.

    Raises
    ------
    ValueError
        It isn't JSON, or doesn't say what a value of this kind needs.
    """
    try:
        return msgspec.json.decode(content, type=kind, strict=is_strict)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
    except msgspec.DecodeError:  # lone surrogates
        value: T = convert(json.loads(content), kind, is_strict=is_strict)
        return value


def convert(value: Any, kind: Any, *, is_strict: bool = True) -> Any:
    """Return what decoded JSON says, as a value of some kind.

    Raises
    ------
    ValueError
        It doesn't say what such a value needs.
    """
    try:
        return msgspec.convert(value, kind, strict=is_strict)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error


def _something_alike(value: object) -> object:
    """Return what stands for a value that msgspec doesn't know, or for an object's key."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, (tuple, frozenset)):  # msgspec knows them elsewhere
        raise TypeError(f"keys must be str, int, float, bool or None, not {type(value).__name__}")
    if isinstance(value, int):  # of a class of its own, as numpy's are
        return int(value)
    return float(value) if isinstance(value, float) else str(value)


ENCODER: Final = msgspec.json.Encoder(enc_hook=_something_alike)
