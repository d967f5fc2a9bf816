"""Text as people may see it, in a terminal, a drawing or Markdown, whatever a file, a database or a library says.

An escape sequence in it must not move a terminal's cursor, nor a bar break a table of Markdown.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

_MEANT_FOR_MARKDOWN = re.compile(r"[\\`*_{}\[\]<>()#|~&$:!]")  # as Prefect's two interfaces read it


def one_line(text: str) -> str:
    """Return text in a line: blanks for line ends and for what isn't printable."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else " " for character in text)


def printable(text: str) -> str:
    """Return text with its lines, and blanks for what isn't printable."""
    return "\n".join(map(one_line, text.split("\n")))


def escaped(text: str) -> str:
    r"""Return text in a line, in which what isn't printable is told as Python writes it: `\n`, `\x1b`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def markdown_text(text: str) -> str:
    """Return text in a line that Markdown shows as it is, in tables too."""
    return _MEANT_FOR_MARKDOWN.sub(r"\\\g<0>", one_line(text))


def markdown_cell(markdown: str) -> str:
    """Return Markdown in a line, as it may stand in a table."""
    return one_line(markdown).replace("|", r"\|")


def shortened(text: str, characters: int) -> str:
    """Leave out the middle of a long text."""
    if len(text) <= characters:
        return text
    half = characters // 2
    return f"{text[:half]} … ({len(text) - 2 * half} characters) … {text[-half:]}"


def moment(seconds: Any) -> str:
    """Return a time since the epoch (s) as local date and time; what is no time as it is."""
    try:
        return f"{datetime.fromtimestamp(float(seconds)):%Y-%m-%d %H:%M:%S}"
    except (TypeError, ValueError, OverflowError, OSError):  # the latter two: beyond what the C library knows
        return str(seconds)
