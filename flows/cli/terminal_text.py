"""Text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[list[str]]:
    """Yield rows with their cells padded to the width of their columns, but for the last one; nothing is cut.

    A terminal wraps what is too long, a pipe gets all of it.
    """
    plain = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*plain, strict=True)]
    for row in plain:
        yield [*(f"{cell:{width}}" for cell, width in zip(row[:-1], widths, strict=False)), row[-1]]
