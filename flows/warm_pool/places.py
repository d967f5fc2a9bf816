"""The runs that a worker has under way, and which of them compute: asked of the kernel, by their processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import psutil

BEGINNING_CPU_S: Final = 0.7
"""CPU time that a recipe run needs to begin, to read what it's about and to get all its steps going."""

QUIET_S: Final = 3.0
"""A process that has hardly computed for so long waits for something else than a core."""

_HARDLY_S: Final = 0.05  # of QUIET_S; that little is left to each of ten processes even on a busy core


@dataclass
class Process:
    """What is known of a run's process.

    Parameters
    ----------
    pid
        Its id; None while it's being started.
    noted_cpu_s, noted_at
        The CPU time when it was last seen to have computed, and when that was.
    """

    pid: int | None
    noted_cpu_s: float = 0.0
    noted_at: float = field(default_factory=time.monotonic)


class RunsUnderWay:
    """The runs of a worker, from when they are chosen to the end of their processes.

    Parameters
    ----------
    is_starting
        Whether the worker is still about to start a run: one that never gets a process gives its place back so.
    """

    def __init__(self, is_starting: Callable[[UUID], bool], cpu_seconds: Callable[[int], float] | None = None) -> None:
        self._is_starting = is_starting
        self._cpu_seconds = cpu_seconds or _cpu_seconds
        self._processes: dict[UUID, Process] = {}

    def take(self, run: UUID) -> None:
        """Note that a run has been chosen."""
        self._processes.setdefault(run, Process(None))

    @contextmanager
    def running(self, run: UUID, pid: int) -> Iterator[None]:
        """Note a run's process while the block lasts."""
        self._processes[run] = Process(pid)
        try:
            yield
        finally:
            self._processes.pop(run, None)

    def look(self, *, is_short: Callable[[UUID], bool]) -> Mapping[UUID, bool]:
        """Return all runs, and whether each is busy.

        Parameters
        ----------
        is_short
            Whether a run counts as busy until its end, however long it computes, rather than at its beginning.
        """
        for run in [run for run, process in self._processes.items() if process.pid is None]:
            if not self._is_starting(run):  # it was refused, or has ended already
                del self._processes[run]
        return {run: self._is_busy(process, is_short(run)) for run, process in self._processes.items()}

    def _is_busy(self, process: Process, is_short: bool) -> bool:
        if process.pid is None:
            return True
        used, now = self._cpu_seconds(process.pid), time.monotonic()
        if used - process.noted_cpu_s >= _HARDLY_S:
            process.noted_cpu_s, process.noted_at = used, now
        return now - process.noted_at < QUIET_S and (is_short or used < BEGINNING_CPU_S)


def _cpu_seconds(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:  # it has just ended
        return 0.0
    return float(times.user + times.system)
