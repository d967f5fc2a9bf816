"""Numbers on a command line: digits, not all that Python reads as a number (`1_0`)."""

from __future__ import annotations

import typer

from tasks.whole_number import whole_number


def integer(text: str) -> int:
    """Read a number, for Typer.

    Raises
    ------
    typer.BadParameter
        It is none.
    """
    number = whole_number(text)
    if number is None:
        raise typer.BadParameter(f"expected a whole number, seen {text!r:.60}")
    return number
