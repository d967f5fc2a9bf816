"""What pydantic says of wrong values, in words for people."""

from __future__ import annotations

import reprlib
from collections.abc import Callable

from pydantic import ValidationError
from pydantic_core import ErrorDetails

MOST_FAULTS = 10  # that are told of: a list may have thousands

Location = tuple[int | str, ...]


def dotted(location: Location) -> str:
    """Name a place within a value: `sweeps.0.start`."""
    return ".".join(map(str, location))


def describe(error: ValidationError, *, place: Callable[[Location], str] = dotted, most: int | None = None) -> str:
    """Say of each fault where it is, what was expected and what was seen.

    Parameters
    ----------
    place
        Names a fault's place; it isn't asked for those of the value as a whole.
    most
        How many faults are told of; None: some, and how many more there are.

    >>> from pydantic import TypeAdapter
    >>> try:
    ...     TypeAdapter(dict[str, int]).validate_python({"images": "many"})
    ... except ValidationError as error:
    ...     describe(error)
    "images: Input should be a valid integer, unable to parse string as an integer, seen 'many'"
    """
    faults = error.errors(include_url=False)
    rest = f"; and {len(faults) - MOST_FAULTS} more" if most is None and len(faults) > MOST_FAULTS else ""
    return "; ".join(_describe(fault, place) for fault in faults[: most or MOST_FAULTS]) + rest


def reasons(error: ValidationError) -> str:
    """Say of each fault what was expected, for messages that tell place and value themselves."""
    return "; ".join(map(_reason, error.errors(include_url=False)))


def expectation(fault: ErrorDetails) -> str:
    """Return what was expected, as it may follow the word `expected`."""
    message = _reason(fault).removeprefix("expected ")
    return message.removeprefix("Input should be ").replace("String should", "text that should")


def _reason(fault: ErrorDetails) -> str:
    """Return what was expected, without pydantic's prefix to a message of ours."""
    return fault["msg"].removeprefix("Value error, ")


def _describe(fault: ErrorDetails, place: Callable[[Location], str]) -> str:
    expected = _reason(fault)
    if not fault["loc"]:
        return expected
    where = place(fault["loc"])
    says_value = fault["type"] == "missing" or ", seen " in expected or "; seen " in expected
    return f"{where}: {expected}" if says_value else f"{where}: {expected}, seen {reprlib.repr(fault['input'])}"
