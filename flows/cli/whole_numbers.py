"""Numbers on a command line: digits, not all that Python reads as a number (`1_0`)."""

from __future__ import annotations

import re
from typing import Final

import typer

_DIGITS: Final = re.compile(r"\s*[-+]?[0-9]{1,100}\s*")  # what is no row's number, by its size, the command tells


def integer(text: str) -> int:
    """Read a number, for Typer.

    Raises
    ------
    typer.BadParameter
        It is none.
    """
    if not _DIGITS.fullmatch(text):
        raise typer.BadParameter(f"expected a whole number, seen {text!r:.60}")
    return int(text)
