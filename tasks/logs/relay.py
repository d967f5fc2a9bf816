"""Log lines that are written on another machine: collected there, sent back with the results, and logged here."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace

from tasks.logs.line import LogLine
from tasks.logs.run_log import LengthFilter, is_kept_here
from tasks.step.identity import StepIdentity, acting_for

MOST_LINES = 50
"""Lines that are sent back with the results of one piece of work: a message of all images is said often enough."""


@contextmanager
def collected_lines(identity: StepIdentity | None) -> Iterator[list[LogLine]]:
    """Work on somebody's behalf, and collect the warnings and worse that are logged meanwhile, by this thread alone.

    Nothing is collected where nobody is known to send it to, or where the recipe run keeps its log in this process.
    """
    lines: list[LogLine] = []
    with acting_for(identity):
        if identity is None or is_kept_here(identity.recipe_run):
            yield lines
            return
        root, collector = logging.getLogger(), _Collector(lines)
        token = _collector.set(collector)
        root.addHandler(collector)
        try:
            yield lines
        finally:
            root.removeHandler(collector)
            _collector.reset(token)
    if collector.dropped:
        lines.append(replace(lines[-1], message=f"{collector.dropped} more lines like these", traceback=None))


def relay(lines: Iterable[LogLine]) -> None:
    """Log lines that were collected elsewhere, as they are, on behalf of whom they were written for."""
    for line in lines:
        logging.getLogger(line.logger).handle(line.to_record())


class _Collector(logging.Handler):
    """Keeps the lines of the work that it belongs to: other threads of a worker work for others."""

    def __init__(self, lines: list[LogLine]) -> None:
        super().__init__(logging.WARNING)
        self.addFilter(LengthFilter())
        self.dropped = 0
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        if _collector.get() is not self:
            return
        if len(self._lines) == MOST_LINES:
            self.dropped += 1
            return
        try:
            self._lines.append(LogLine.from_record(record))
        # As in `logging`'s own handlers: a line whose arguments don't fit its text must not end the work.
        except Exception:
            self.handleError(record)


_collector: ContextVar[_Collector | None] = ContextVar("collector", default=None)
