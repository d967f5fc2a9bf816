"""What `plaza spots` prints: a table for people, or JSON lines; on standard error a bar, what went wrong, a summary."""

from __future__ import annotations

import json
import logging
import math
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from blocks.errors import PlazaError
from flows.cli.spots.table import SpotTable
from flows.display_text import one_line
from tasks.diffraction.kernel import why_not_compiled
from tasks.spots import FoundSpots, Image


class OutputUnwritable(PlazaError):
    """What is found can't be told."""


_FOR_PROGRAMMERS: Final = ("matplotlib", "py")
"""Whose warnings nobody can do anything about who wants to see spots."""


class _LogLines(logging.Handler):
    """Says what is logged as the rest is said, a line each, without tracebacks.

    Parameters
    ----------
    tell
        What says a line.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._say_line = tell

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.ERROR and record.name.partition(".")[0] in _FOR_PROGRAMMERS:
            return
        if record.exc_text and hasattr(record, "log_line"):  # of a DIALS process: its image says the same in words
            return
        self._say_line(record.getMessage().partition("\n")[0])


class Output:
    """Told what happens. Subclasses print the images; this has the bar and what is said to people beside it.

    Where both standard output and standard error are the same terminal, lines go above the bar.
    """

    def __init__(self) -> None:
        self._people = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._done = self._wanted = 0

    def __enter__(self) -> Self:
        self._loggers_handlers, logging.root.handlers = logging.root.handlers, [_LogLines(self._tell)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop_bar()
        logging.root.handlers = self._loggers_handlers

    def on_refusal(self, line: str) -> None:
        """A name, or an image, can't be used."""
        self._tell(line)

    def on_note(self, line: str) -> None:
        """Something else is to be known."""
        self._tell(line)

    def on_begin(self, images: Sequence[Image]) -> None:
        """The images are known."""
        self._wanted = len(images)
        if self._people.is_terminal:
            self._bar = Progress(
                TextColumn("finding spots"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=self._people,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=True,
            )
            self._bar.add_task("images", total=len(images))
            self._bar.start()

    def on_image(self, found: FoundSpots) -> None:
        """An image is done, or has failed."""
        self._done += 1
        if found.analysis is None:
            reason = found.reason or "it failed"
            self._tell(reason if found.image.file in reason else f"{found.image.name}: {reason}")
        self._write_rows(self._rows(found))
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0])

    def on_end(self, found: Sequence[FoundSpots], seconds: float, start_s: float, processes: int) -> None:
        """All images are done."""
        self._stop_bar()
        self._tell(summary(found, seconds, start_s, processes))

    def on_interrupt(self) -> None:
        """Somebody doesn't want the rest."""
        self._stop_bar()
        self._tell(f"stopped after {self._done:,} of {self._wanted:,} images" if self._wanted else "stopped")

    def _rows(self, found: FoundSpots) -> Iterable[str | Text]:
        """Return the lines that an image has."""
        raise NotImplementedError

    def _write_rows(self, rows: Iterable[str | Text]) -> None:
        """Write lines to standard output, above the bar if that is there too.

        Raises
        ------
        OutputUnwritable
            It can't be written; a pipe whose reader has gone is left to the command line, which ends quietly.
        """
        try:
            self._print_rows(rows)
        except BrokenPipeError:
            raise
        except OSError as error:
            _forget_standard_output()
            raise OutputUnwritable(f"standard output can't be written: {error.strerror or error}") from error

    def _print_rows(self, rows: Iterable[str | Text]) -> None:
        if self._bar is not None and sys.stdout.isatty():
            for row in rows:
                self._bar.console.print(Text(row) if isinstance(row, str) else row)
            return
        for row in rows:
            sys.stdout.write(f"{row.plain if isinstance(row, Text) else row}\n")
        sys.stdout.flush()

    def _tell(self, line: str) -> None:
        self._people.print(Text(one_line(f"plaza spots: {line}")))

    def _stop_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class JsonLines(Output):
    """A JSON object an image; of one that failed, `error` instead of the statistics. No number of JSON's: null."""

    def _rows(self, found: FoundSpots) -> Iterable[str | Text]:
        payload = found.as_payload()
        yield json.dumps(
            {
                name: None if isinstance(value, float) and not math.isfinite(value) else value
                for name, value in payload.items()
            },
            allow_nan=False,
        )


class Table(Output):
    """A table, of which each row comes as soon as it's known."""

    def on_begin(self, images: Sequence[Image]) -> None:
        """Lay the table out; its head comes with the first row."""
        width = Console().width if sys.stdout.isatty() else None
        self._table = SpotTable(images, width)
        self._has_head = False
        super().on_begin(images)

    def _rows(self, found: FoundSpots) -> Iterable[str | Text]:
        if not self._has_head and found.analysis is not None:
            self._has_head = True
            yield from self._table.head()
        if found.analysis is not None:
            yield self._table.row(found.image, found.analysis.statistics)


def _forget_standard_output() -> None:
    """Let Python, which tries once more at its end, write what is left to nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, sys.stdout.fileno())
    finally:
        os.close(nowhere)


def make_output(*, is_json: bool) -> Output:
    """Return what prints.

    Raises
    ------
    OutputUnwritable
        There's no standard output.
    """
    if sys.stdout is None:
        raise OutputUnwritable("standard output is closed: expected a terminal, a pipe or a file, such as /dev/null")
    return JsonLines() if is_json else Table()


def summary(found: Sequence[FoundSpots], seconds: float, start_s: float, processes: int) -> str:
    """Say how many images were done, how fast, and why some of them by DIALS.

    Parameters
    ----------
    seconds
        In all.
    start_s
        How many of them were over before the first image was begun with: DIALS was imported, masters were read.

    The rate is that of the images that didn't fail.
    """
    done = [each.analysis for each in found if each.analysis is not None]
    text = f"{_counted(len(done), 'image')} in {seconds:.1f} s, {start_s:.1f} s of which to start"
    if done:
        rate = len(done) / max(seconds - start_s, 1e-3)
        text += f"; {rate:.{1 if rate < 100 else 0}f} images/s by {_counted(processes, 'process', 'es')}"
    if failed := len(found) - len(done):
        text += f"; {failed:,} failed"
    if corrected := sum(analysis.corrected is not None for analysis in done):
        text += f"; {corrected:,} corrected after a check by DIALS"
    reasons = Counter(analysis.by_dials for analysis in done if analysis.by_dials is not None)
    if reasons:
        counted = ", ".join(f"{reason} ({count:,})" for reason, count in reasons.most_common())
        text += f"; {reasons.total():,} by DIALS: {counted}"
    if len(done) > reasons.total() and (lack := why_not_compiled()):
        text += f"; slower than need be without the kernel: {lack}"
    return text


def _counted(number: int, noun: str, plural: str = "s") -> str:
    return f"{number:,} {noun}{plural * (number != 1)}"
