"""Read the log of a recipe run: in order of time, while it is written, and by step and level."""

from __future__ import annotations

import heapq
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from blocks.errors import PlazaError
from tasks.logs.line import LogLine

POLL_S = 0.2
WINDOW_S = 1.0
"""How long a line is held back for earlier ones: workers send theirs with the results of a chunk of images."""


class UnknownLevel(PlazaError):
    """There is no such level of log lines."""


@dataclass(frozen=True)
class LogSelection:
    """Which lines are wanted.

    Parameters
    ----------
    step
        Name of a step or number of a node; None: all, and those of the run as a whole.
    level
        The least level.
    """

    step: str | None = None
    level: int = logging.NOTSET

    def __contains__(self, line: LogLine) -> bool:
        if line.level_number < self.level:
            return False
        if self.step is None:
            return True
        identity = line.identity
        return identity is not None and identity.node is not None and self.step in (str(identity.node), identity.step)


def read_level(name: str) -> int:
    """Return the number of a level such as `warning`.

    Raises
    ------
    UnknownLevel
        There is none of this name.
    """
    levels = logging.getLevelNamesMapping()
    if name.upper() not in levels:
        raise UnknownLevel(f"--level {name}: expected one of {', '.join(sorted(levels, key=levels.__getitem__))}")
    return levels[name.upper()]


def read_log(file: Path) -> list[LogLine]:
    """Return the lines of a log in order of time; none if there is no log yet."""
    with closing(Tail(file)) as tail:
        return sorted(tail.read(to_the_end=True), key=lambda line: line.time)


def follow_log(
    file: Path,
    has_ended: Callable[[], bool],
    merge: Merge | None = None,
    wait: Callable[[], None] = lambda: time.sleep(POLL_S),
) -> Iterator[LogLine]:
    """Yield the lines of a log in order of time as they are written, until the run has ended.

    Parameters
    ----------
    file
        The log; it needn't be there yet.
    has_ended
        Tells whether the run writes no more.
    merge
        Brings the lines into order; what comes later than its window comes out of order.
    wait
        Called when all that's there was read.
    """
    merge = merge or Merge()
    with closing(Tail(file)) as tail:
        while True:
            ended = has_ended()  # asked first: what was written until then is read below
            merge.add(tail.read(to_the_end=ended))
            yield from merge.release(everything=ended)
            if ended:
                return
            wait()


class Tail:
    """What was appended to a log since the last look. A line that isn't whole yet is waited for."""

    def __init__(self, file: Path) -> None:
        self._path = file
        self._file: FileIO | None = None
        self._begun = b""
        self._time = 0.0

    def read(self, to_the_end: bool = False) -> list[LogLine]:
        """Return the new lines.

        Parameters
        ----------
        to_the_end
            Nobody will finish a line that isn't whole.
        """
        if self._file is None and not self._open():
            return []
        assert self._file is not None, "the log was not opened"
        *whole, self._begun = (self._begun + self._file.readall()).split(b"\n")
        if to_the_end:
            whole, self._begun = [*whole, self._begun], b""
        return [self._understand(row) for row in whole if row.strip()]

    def close(self) -> None:
        """Close the log."""
        if self._file is not None:
            self._file.close()

    def _open(self) -> bool:
        try:
            self._file = FileIO(self._path)
        except FileNotFoundError:
            return False
        return True

    def _understand(self, row: bytes) -> LogLine:
        """Read a line; one that can't be read (a full disk, a process killed while it wrote) is shown as it is."""
        try:
            line = LogLine.from_json(row)
        except ValueError:
            text = row.decode(errors="replace")
            return LogLine(self._time, "WARNING", __name__, f"a line that can't be read: {text}", None, "", 0)
        self._time = line.time
        return line


class Merge:
    """Brings lines into order that come in nearly in order.

    What counts is how long a line has been here, not how old it is: clocks of different machines differ.

    Parameters
    ----------
    window_s
        How long a line is held back for earlier ones.
    clock
        Seconds, from whenever.
    """

    def __init__(self, window_s: float = WINDOW_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._window_s, self._clock = window_s, clock
        self._held: list[tuple[float, int, LogLine]] = []
        self._arrivals: deque[tuple[float, float]] = deque()
        self._count = 0

    def add(self, lines: Iterable[LogLine]) -> None:
        """Take lines that have just come."""
        now = self._clock()
        for line in lines:
            self._count += 1
            heapq.heappush(self._held, (line.time, self._count, line))
            self._arrivals.append((now, line.time))

    def release(self, everything: bool = False) -> Iterator[LogLine]:
        """Yield, in order, the lines that were held long enough, and those that come before them."""
        due = float("inf") if everything else float("-inf")
        while self._arrivals and self._arrivals[0][0] <= self._clock() - self._window_s:
            due = max(due, self._arrivals.popleft()[1])
        while self._held and self._held[0][0] <= due:
            yield heapq.heappop(self._held)[2]


def steps_of(lines: Sequence[LogLine]) -> list[str]:
    """Return the steps that have lines, as `2 analyse_images`."""
    seen = {(line.identity.node, line.identity.step) for line in lines if line.identity and line.identity.node}
    return [f"{node} {step}" for node, step in sorted(seen, key=lambda step: step[0] or 0)]
