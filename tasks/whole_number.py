"""Whole numbers as messages and recipes bring them: as numbers, or as texts of digits."""

from __future__ import annotations

import re
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

LARGEST: Final = 2**63 - 1
"""More than there is of anything; beyond it, databases and JSON of 64 bits can't take a number."""

# Not what `int` reads: `1_000`, other scripts' digits, and texts so long that it computes for minutes
_DIGITS = re.compile(r"[-+]?[0-9]{1,19}")
_GROUPED = re.compile(r"[0-9.eE+\-\s]*[0-9]_[0-9_.eE+\-\s]*")


def whole_number(value: Any) -> int | None:
    """Return a whole number of 64 bits; None for what is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        value = int(value) if abs(value) < LARGEST and value.is_integer() else None
    elif isinstance(value, str):
        digits = value.strip()
        value = int(digits) if _DIGITS.fullmatch(digits) else None
    return value if isinstance(value, int) and abs(value) <= LARGEST else None


def is_grouped(text: str) -> bool:
    """Tell whether a text is a number with underscores in it: 10 to Python and pydantic, a name to anybody else.

    >>> is_grouped("1_0")
    True
    """
    return "_" in text and _GROUPED.fullmatch(text) is not None


def takes_numbers_only(annotation: Any) -> bool:
    """Tell whether what is annotated so is a number, which pydantic reads from texts too."""
    annotation = getattr(annotation, "__supertype__", annotation)
    if get_origin(annotation) is Annotated:
        return takes_numbers_only(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return all(takes_numbers_only(choice) for choice in get_args(annotation) if choice is not NoneType)
    return annotation in (int, float)
