"""One log line of a recipe run, wherever it was written: the line of the run's log file, and what workers send back."""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from tasks.step.identity import StepIdentity, current_identity

IDENTITY_NAMES = tuple(field.name for field in fields(StepIdentity))

# What each record has (taskName from Python 3.12 on); the rest was given as `extra` by who logged it.
_USUAL = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "log_line", *IDENTITY_NAMES}
_TRACEBACKS = logging.Formatter()


@dataclass(frozen=True, slots=True)
class LogLine:
    """A log line and where it comes from.

    Parameters
    ----------
    time
        Seconds since 1970, by the clock of `host`.
    identity
        On whose behalf it was written; None: not known where it was written.
    details
        What the line says in fields of its own (`extra` in `logging`), as JSON values.
    """

    time: float
    level: str
    logger: str
    message: str
    identity: StepIdentity | None
    host: str
    pid: int
    traceback: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def level_number(self) -> int:
        """The level as `logging` counts it; one that nobody knows counts as a warning."""
        return logging.getLevelNamesMapping().get(self.level, logging.WARNING)

    @classmethod
    def from_record(cls, record: logging.LogRecord) -> LogLine:
        """Make a line of what was logged, on behalf of whoever logs at the moment."""
        relayed = getattr(record, "log_line", None)
        if isinstance(relayed, LogLine):
            return relayed if relayed.identity else replace(relayed, identity=current_identity())
        return cls(
            record.created,
            record.levelname,
            record.name,
            record.getMessage(),
            current_identity(),
            _host(),
            record.process or os.getpid(),
            _traceback(record),
            {name: _plain(value) for name, value in vars(record).items() if name not in _USUAL},
        )

    def to_record(self) -> logging.LogRecord:
        """Make a record of it, for the handlers of this process; they see time and process of the line."""
        return logging.makeLogRecord(
            {
                **self.details,
                "name": self.logger,
                "levelname": self.level,
                "levelno": self.level_number,
                "msg": self.message,
                "created": self.time,
                "msecs": self.time % 1 * 1000,
                "process": self.pid,
                "exc_text": self.traceback,
                "log_line": self,
            }
        )

    def to_json(self) -> str:
        """Write it as a JSON object, in one line of ASCII."""
        time = datetime.fromtimestamp(self.time, UTC).isoformat(timespec="microseconds")
        said = {"time": time, "level": self.level, "logger": self.logger, "message": self.message}
        content = said | {"host": self.host, "pid": self.pid}
        if self.identity:
            content |= {name: getattr(self.identity, name) for name in IDENTITY_NAMES}
        if self.traceback:
            content["traceback"] = self.traceback
        if self.details:
            content["details"] = dict(self.details)
        # ASCII, so that a line can be cut at any byte, by a full disk or a killed process, without spoiling the next.
        return json.dumps(content)

    @classmethod
    def from_json(cls, text: str | bytes) -> LogLine:
        """Read a line.

        Raises
        ------
        ValueError
            It is none, or not all of it.
        """
        try:
            content = json.loads(text)
            known = content.get("recipe_run") is not None
            return cls(
                datetime.fromisoformat(content["time"]).timestamp(),
                str(content["level"]),
                str(content["logger"]),
                str(content["message"]),
                StepIdentity(**{name: content.get(name) for name in IDENTITY_NAMES}) if known else None,
                str(content["host"]),
                int(content["pid"]),
                content.get("traceback"),
                content.get("details") or {},
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(f"expected a log line as JSON, seen {text[:200]!r}") from error


class LogLineFormatter(logging.Formatter):
    """Formats records as log lines in JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        return LogLine.from_record(record).to_json()


def identity_of(record: logging.LogRecord) -> StepIdentity | None:
    """Return on whose behalf a record was made that is being handled."""
    line = getattr(record, "log_line", None)
    return (line.identity if isinstance(line, LogLine) else None) or current_identity()


def _traceback(record: logging.LogRecord) -> str | None:
    if not record.exc_info:
        return record.exc_text
    if record.exc_info[0] is None:  # so Prefect logs failed states; other handlers make a text of it
        return None
    return _TRACEBACKS.formatException(record.exc_info)


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | None) else str(value)


@cache
def _host() -> str:
    return socket.gethostname()
