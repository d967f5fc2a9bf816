"""Text for a terminal."""

from __future__ import annotations

from datetime import datetime
from typing import Any


def moment(seconds: Any) -> str:
    """Return a time since the epoch as local date and time; what is none as it is."""
    try:
        return f"{datetime.fromtimestamp(float(seconds)):%Y-%m-%d %H:%M:%S}"
    except (TypeError, ValueError, OverflowError, OSError):
        return str(seconds)


def one_line(text: str) -> str:
    """Return text in a line, without what a terminal would take for something else."""
    return "".join(character if character.isprintable() else " " for character in text)


def printable(text: str) -> str:
    """Return text without what a terminal would take for something else; lines stay."""
    return "\n".join(map(one_line, text.split("\n")))
