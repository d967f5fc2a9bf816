"""The log of a recipe run: a file of JSON lines, to which all processes of the run may append."""

from __future__ import annotations

import errno
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from blocks.home_folder import make_folder
from tasks.logs.line import IDENTITY_NAMES, LogLine, identity_of
from tasks.step.identity import StepIdentity, acting_for

PLAZA_LOGGERS = ("flows", "tasks", "blocks")
MOST_CHARACTERS = 10_000  # of a line: some quote ISPyB or a message, where megabytes may stand


@contextmanager
def run_log(file: Path, identity: StepIdentity, level: str = "INFO") -> Iterator[None]:
    """Keep what is logged on behalf of a recipe run in its log, and let other handlers say on whose behalf it is.

    Of other libraries, warnings and worse are kept. Of a long line the middle is left out.

    Parameters
    ----------
    file
        The log; lines are appended.
    identity
        The run. What is logged within, but outside of its steps, is logged on behalf of the run as a whole.
    level
        The least level that's kept of Plaza's own lines.
    """
    root = logging.getLogger()
    handler = RunLogHandler(file, identity.recipe_run, level)
    handler.addFilter(LengthFilter())
    with ExitStack() as stack:
        stack.enter_context(acting_for(identity))
        for name in PLAZA_LOGGERS:
            stack.enter_context(_at_least(logging.getLogger(name), handler.level))
            for other in logging.getLogger(name).handlers:
                stack.enter_context(_with_identity(other))
        for other in root.handlers:
            stack.enter_context(_with_identity(other))
            if isinstance(other, logging.StreamHandler):
                stack.enter_context(_with_prefix(other))
        root.addHandler(handler)
        # Callbacks run in reverse: no line may reach the handler once it's closed, or it would open its file again.
        stack.callback(handler.close)
        stack.callback(root.removeHandler, handler)
        yield


def is_kept_here(recipe_run: str) -> bool:
    """Tell whether this very process keeps the log of a recipe run, which then needs not be sent there."""
    handlers = logging.getLogger().handlers
    return any(isinstance(handler, RunLogHandler) and handler.recipe_run == recipe_run for handler in handlers)


class RunLogHandler(logging.Handler):
    """Appends the lines of one recipe run to its log, each in one write, so that several processes may.

    A log that can't be written disturbs nobody: that's said once on standard error, and in the log when it goes on.

    Parameters
    ----------
    file
        The log.
    recipe_run
        What is logged on behalf of others is left out.
    level
        The least level of Plaza's own lines.
    """

    def __init__(self, file: Path, recipe_run: str, level: int | str = logging.INFO) -> None:
        super().__init__(level)
        self.recipe_run = recipe_run
        self._file = file
        self._descriptor: int | None = None
        self._is_torn = False
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Append a record, if it's of this recipe run."""
        identity = identity_of(record)
        if identity is None or identity.recipe_run != self.recipe_run:
            return
        if record.levelno < logging.WARNING and record.name.partition(".")[0] not in PLAZA_LOGGERS:
            return
        try:
            line = LogLine.from_record(record)
            if self._lost:
                self._append(self._say_loss(line))
                self._lost = 0
            self._append(line)
        except OSError as error:
            self._lose(error)
        except Exception:  # a line whose arguments don't fit its text, say
            self.handleError(record)

    def close(self) -> None:
        """Close the file."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
        super().close()

    def _append(self, line: LogLine) -> None:
        if self._descriptor is None:
            self._descriptor = self._open()
        data = line.to_json().encode("ascii") + b"\n"
        if self._is_torn:
            data = b"\n" + data
        # One write in append mode: the kernel puts the lines of several processes one after the other. Of what doesn't
        # fit on a full disk it takes a part.
        written = os.write(self._descriptor, data)
        self._is_torn = written < len(data) if written else self._is_torn
        if written < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._file))

    def _open(self) -> int:
        make_folder(self._file.parent)
        descriptor = os.open(self._file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        size = os.fstat(descriptor).st_size
        self._is_torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"  # a process died while it wrote
        return descriptor

    def _lose(self, error: OSError) -> None:
        self._lost += 1
        if self._lost == 1 and sys.stderr is not None:
            sys.stderr.write(f"plaza: lines are missing in the log {self._file} until it can be written: {error}\n")

    def _say_loss(self, before: LogLine) -> LogLine:
        message = f"{self._lost} lines are missing here: the log could not be written"
        line = replace(before, time=time.time(), level="WARNING", logger=__name__, message=message)
        return replace(line, pid=os.getpid(), traceback=None, details={})


class LengthFilter(logging.Filter):
    """Leaves out the middle of long messages."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let all records pass."""
        try:
            message = record.getMessage()
        except Exception:  # its arguments don't fit its text, which the handler tells
            return True
        if len(message) > MOST_CHARACTERS:
            half = MOST_CHARACTERS // 2 - 50  # the note counts too: the next handler must find it short
            left_out = len(message) - 2 * half
            record.msg, record.args = f"{message[:half]} … ({left_out} characters) … {message[-half:]}", ()
        return True


class IdentityFilter(logging.Filter):
    """Gives each record `recipe_run`, `recipe`, `dcid`, `node` and `step` (or None), for formats to name them.

    It's for handlers: were it a record factory, a call with one of these names among its `extra` would fail.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Let all records pass."""
        identity = identity_of(record)
        for name in IDENTITY_NAMES:
            if name not in vars(record):
                setattr(record, name, getattr(identity, name, None))
        return True


class IdentityPrefix(logging.Formatter):
    """Puts on whose behalf a line is before it: the runs of a worker share its output."""

    def __init__(self, inner: logging.Formatter | None) -> None:
        super().__init__()
        self._inner = inner or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of another formatter, with the prefix."""
        identity, text = identity_of(record), self._inner.format(record)
        return f"{identity} | {text}" if identity else text


@contextmanager
def _at_least(logger: logging.Logger, level: int) -> Iterator[None]:
    before = logger.level
    logger.setLevel(min(level, logger.getEffectiveLevel()))
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _with_identity(handler: logging.Handler) -> Iterator[None]:
    added = IdentityFilter(), LengthFilter()
    for one in added:
        handler.addFilter(one)
    try:
        yield
    finally:
        for one in added:
            handler.removeFilter(one)


@contextmanager
def _with_prefix(handler: logging.Handler) -> Iterator[None]:
    before = handler.formatter
    handler.setFormatter(IdentityPrefix(before))
    try:
        yield
    finally:
        handler.setFormatter(before)
