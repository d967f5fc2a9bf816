"""What a child process prints and logs: kept in memory until its parent looks, so that its last words are known."""

from __future__ import annotations

import fcntl
import os
import time
from io import FileIO

from tasks.logs.line import LogLine

MOST_BYTES = 65536
"""What is read of it at a time; of more, the end, where a crash's cause stands."""
LAST_WORDS = 2000
"""Characters of it that fit into an error's text."""


class ProcessOutput:
    """A file in memory for a child's standard output and error.

    Unlike a pipe it needs no thread that reads it, never fills up so that the child waits, and outlives the child.
    What the child logs with a `LogLineFormatter` is understood as log lines.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        descriptor = os.memfd_create(name)
        # parent and child share the position: the child must write at the end, wherever that is
        fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_APPEND)
        self._file = FileIO(descriptor, "r+")
        self._taken = 0

    def fileno(self) -> int:
        """Return the file's number, for `subprocess`."""
        return self._file.fileno()

    def take(self, pid: int, until: int | None = None, level: str = "WARNING") -> list[LogLine]:
        """Take what the child has said since the last time.

        Parameters
        ----------
        pid
            The child's.
        until
            The size that the file had, as the child says, when it came to the end of some work.
        level
            Of what it has printed rather than logged.
        """
        end = os.fstat(self._file.fileno()).st_size if until is None else until
        start, self._taken = self._taken, end
        if start == end:
            return []
        first = max(start, end - MOST_BYTES)
        data = os.pread(self._file.fileno(), end - first, first)
        if first > start:
            data = f"({first - start} bytes before this are left out)\n".encode() + data
        return self._read(data.decode(errors="replace"), pid, level)

    def last_words(self, pid: int) -> str:
        """Take the end of what the child has said since the last time, in one line where it logged lines."""
        return "; ".join(line.message for line in self.take(pid))[-LAST_WORDS:]

    def empty(self) -> None:
        """Free what was taken; call it while the child is idle, else what it says meanwhile may be lost."""
        if self._taken:
            os.ftruncate(self._file.fileno(), 0)
            self._taken = 0

    def close(self) -> None:
        """Forget it."""
        self._file.close()

    def _read(self, text: str, pid: int, level: str) -> list[LogLine]:
        lines: list[LogLine] = []
        printed: list[str] = []

        def end_of_print() -> None:
            if message := "\n".join(printed).strip():
                lines.append(LogLine(time.time(), level, self._name, message, None, os.uname().nodename, pid))
            printed.clear()

        for row in text.splitlines():
            try:
                line = LogLine.from_json(row) if row.startswith("{") else None
            except ValueError:
                line = None
            if line is None:
                printed.append(row)
            else:
                end_of_print()
                lines.append(line)
        end_of_print()
        return lines
