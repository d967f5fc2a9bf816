"""Which columns give way to a value that they can't hold, so that the rest of the row is written.

A run's status counts, not the `σ` in its message; fifteen statistics count, though the sixteenth is NaN. All other
columns are strict: what programs find a row or a file by, compare, or go on with (ids, paths, names, space groups,
choices, parameters of jobs) is written as it is, or refused.
"""

import math
from typing import Any, Final

from sqlalchemy import Column, Float, Integer

ORNAMENTS: Final = frozenset(
    {
        "comments",
        "description",
        "displayName",
        "message",
        "phasingCommandLine",  # a record of what was run: nothing runs it from there, and long ones are cut
        "phasingMessage",
        "processingCommandLine",
        "processingEnvironment",
        "processingMessage",
        "shortComments",
        "statusDescription",
    }
)
"""Texts that only people read, by the names that their columns have in all tables."""

PREFIXES: Final = ("", "processing", "phasing")  # which procedures leave out
ORNAMENT_PARAMETERS: Final = frozenset(
    {"updatemessage", *(name.removeprefix(prefix).lower() for name in ORNAMENTS for prefix in PREFIXES)}
)
"""The same by the names that ISPyB's procedures have for them, in lower case, without `p_` and other underscores."""


def is_ornament(column: Column[Any]) -> bool:
    """Tell whether a text column is for people only: characters that it can't hold are replaced."""
    return column.name in ORNAMENTS


def is_ornament_parameter(name: str) -> bool:
    """Tell whether a procedure's parameter, such as `p_message`, is for a text that only people read."""
    bare = name.lower().removeprefix("p_").replace("_", "")
    return bare.rstrip("123") in ORNAMENT_PARAMETERS  # as of the three shells of a scaling


def is_figure(column: Column[Any]) -> bool:
    """Tell whether a column holds a measured or computed number that may be left out: NaN becomes NULL.

    One that numbers a row or refers to one isn't, whether or not the schema declares that.
    """
    is_key = column.primary_key or bool(column.foreign_keys) or column.name.lower().endswith("id")
    return isinstance(column.type, Integer | Float) and bool(column.nullable) and not is_key


def is_no_number(value: Any) -> bool:
    """Tell whether a value is a number, or a text of one, that is NaN or infinite."""
    if isinstance(value, bool):
        return False
    try:
        return not math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError):
        return False
