"""JSON values that a recipe may hold: checked, copied, and shown in messages."""

from __future__ import annotations

import copy
import math
import reprlib
from typing import Any

from blocks.errors import RecipeError

MAX_DEPTH = 100
"""How many levels a recipe's objects and lists may nest: far below where Python's recursion ends."""


def check_value(value: Any) -> None:
    """Refuse what can't be written as JSON again or is nested too deeply.

    Raises
    ------
    RecipeError
        Saying what it is: NaN, an infinite number, half a surrogate pair, too many levels.
    """
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                if not item.isascii():
                    _check_text(item)
            elif isinstance(item, dict):
                below += item
                below += item.values()
            elif isinstance(item, (list, tuple)):
                below += item
            elif isinstance(item, float) and not math.isfinite(item):
                raise RecipeError(f"{item} is no JSON number: expected a finite one")
        if not below:
            return
        level = below
    raise RecipeError(f"nested more than {MAX_DEPTH} levels deep")


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RecipeError(f"text {shown(text)} holds half a character (a lone surrogate)") from error


def copied(value: Any, levels: int = MAX_DEPTH) -> Any:
    """Copy a JSON value through all its levels, several times as fast as `copy.deepcopy`.

    Raises
    ------
    RecipeError
        It has more levels than that.
    """
    if value is None or isinstance(value, str | int | float):
        return value
    if levels < 0:
        raise RecipeError(f"nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, dict):
        return {key: copied(below, levels - 1) for key, below in value.items()}
    if isinstance(value, list):
        return [copied(item, levels - 1) for item in value]
    if isinstance(value, tuple):
        return tuple(copied(item, levels - 1) for item in value)
    return copy.deepcopy(value)


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 120
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = 20


def shown(value: Any) -> str:
    """Return a value as text for a message, long ones shortened."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # an integer of more digits than Python writes
        return f"a huge {type(value).__name__}"
