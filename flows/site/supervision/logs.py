"""Logs that supervisord writes to even while their disk is full: what can't be written is left out, and it lives on.

supervisord's own handlers raise where a log can't be written or changed for the next one. That ends supervisord, whose
standard error is on the same disk, or closes the pipe that a service logs to.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from supervisor import loggers


def survive_full_disks() -> None:
    """Have supervisord make its logs, and this process write its standard output and error, of the kinds below."""
    loggers.RotatingFileHandler = LastingLog  # where supervisord's `handle_file` looks it up
    sys.stdout, sys.stderr = _lossy(1), _lossy(2)


# Said at each start; who may use its socket is for the socket's mode to say
_NEEDLESS_ALARM = "running without any HTTP authentication checking"


class LastingLog(loggers.RotatingFileHandler):  # type: ignore[misc]  # the package has no types
    """A log of a limited size, beside those before it (`….1`, `….2`), that never raises for want of room.

    It says how much is missing as soon as it can be written again.
    """

    def __init__(self, filename: str, mode: str = "ab", maxBytes: int = 0, backupCount: int = 0) -> None:  # noqa: N803
        loggers.Handler.__init__(self)
        self.baseFilename, self.mode = filename, mode
        self.maxBytes, self.backupCount = maxBytes, backupCount
        self.stream: io.FileIO = _open(filename)  # raises: a log that can't be made is told of at the start
        self._lost = 0

    def emit(self, record: loggers.LogRecord) -> None:
        """Write a record and change to a new file if this one is full; a loss is counted."""
        if isinstance(record.msg, str) and record.level == loggers.LevelsByName.CRIT and _NEEDLESS_ALARM in record.msg:
            return
        data = record.msg if isinstance(record.msg, bytes) else (self.fmt % record.asdict()).encode()
        try:
            if self._lost:
                self._write(f"\n({self._lost} bytes are missing here: the log couldn't be written)\n".encode())
                self._lost = 0
            self._write(data)
            self._change_file()
        except OSError:
            self._lost += len(data)

    def reopen(self) -> None:
        """Open the file anew, which somebody has moved away."""
        try:
            stream = _open(self.baseFilename)
        except OSError:
            return  # the one that's open will do
        self.stream.close()
        self.stream = stream
        self.closed = False

    def _write(self, data: bytes) -> None:
        written = self.stream.write(data)
        if written < len(data):  # the disk took a part of it
            raise OSError(f"{written} of {len(data)} bytes were written")

    def _change_file(self) -> None:
        """Put a file that has its size aside, once there's another: without room for that, the old one goes on."""
        if not self.maxBytes or self.stream.tell() < self.maxBytes:
            return
        file = Path(self.baseFilename)
        names = [file, *(file.with_name(f"{file.name}.{number}") for number in range(1, self.backupCount + 1))]
        draft = file.with_name(f"{file.name}.new")
        stream = _open(str(draft))
        for older, newer in zip(reversed(names[1:]), reversed(names[:-1]), strict=True):
            if newer.exists():
                newer.replace(older)
        draft.replace(file)
        self.stream.close()
        self.stream = stream


def _open(file: str) -> io.FileIO:
    # No buffer: one that can't be emptied is an error again and again, at last when it's closed
    return open(file, "ab", buffering=0)  # noqa: PTH123  # closed with the handler


class _LossyFile(io.FileIO):
    """A file that takes what its disk doesn't."""

    def write(self, data: object) -> int:
        size = memoryview(data).nbytes  # type: ignore[arg-type]
        try:
            super().write(data)  # type: ignore[arg-type]
        except OSError:
            return size
        return size


def _lossy(descriptor: int) -> io.TextIOWrapper:
    file = _LossyFile(descriptor, "w", closefd=False)
    return io.TextIOWrapper(file, errors="backslashreplace", write_through=True)
