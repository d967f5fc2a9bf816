"""How log lines look in a terminal."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import date, datetime
from typing import TYPE_CHECKING

from flows.display_text import printable
from tasks.logs.line import LogLine

if TYPE_CHECKING:
    from rich.text import Text

STEP_WIDTH = 22  # columns: a node's number and most steps' names
INDENT = " " * 4
_COLOURS = ((logging.ERROR, "bold red"), (logging.WARNING, "yellow"), (logging.INFO, ""), (logging.NOTSET, "dim"))


class LogDisplay:
    """Makes text of log lines, with a row of its own where the day changes; times are local."""

    def __init__(self, today: date | None = None) -> None:
        self._day = today or date.today()

    def rows(self, line: LogLine) -> Iterator[Text]:
        """Yield a line's text: one row, or more if it has a traceback."""
        from rich.text import Text

        moment = datetime.fromtimestamp(line.time)
        if moment.date() != self._day:
            self._day = moment.date()
            yield Text(f"{self._day:%A, %d %B %Y}", "bold")
        colour = next(colour for level, colour in _COLOURS if line.level_number >= level)
        first, *more = printable(line.message).split("\n")
        yield Text.assemble(
            (f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d} ", "dim"),
            (f"{line.level:<8} ", colour),
            (f"{_step(line):<{STEP_WIDTH}} ", "cyan"),
            (first, colour),
        )
        if line.traceback:
            more += printable(line.traceback).split("\n")
        for row in more:
            yield Text(INDENT + row, "dim")


def _step(line: LogLine) -> str:
    if line.identity is None or line.identity.node is None:
        return ""
    return f"{line.identity.node} {line.identity.step}"
