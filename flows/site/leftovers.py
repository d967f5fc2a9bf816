"""What is left of a site: processes that outlived their supervisor, and those that somebody has stopped."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from flows.site.processes import site_processes
from flows.site.supervision import ServiceFailed
from tasks.processes.ties import is_alive, kill, wait_until_gone

logger = logging.getLogger(__name__)

_TIMEOUT_S = 12.0  # the worker gives its runs 10 s


def end_leftovers(home: Path, spared: Sequence[psutil.Process] = ()) -> None:
    """End processes of a site whose supervisor is gone; they stop by themselves, so wait for that first."""

    def left() -> list[psutil.Process]:
        return [process for process in site_processes(home) if process not in spared]

    leftovers = wait_until_gone(left(), timeout=_TIMEOUT_S)
    if leftovers:
        logger.warning("killing what an earlier site left: %s", names(leftovers))
        kill(leftovers)
        leftovers = wait_until_gone(left(), timeout=5)
    if leftovers:
        raise ServiceFailed(f"can't be killed: {names(leftovers)}. End them by hand, then try again")


def let_go_on(processes: Sequence[psutil.Process]) -> None:
    """Let go on what is stopped (SIGSTOP): it would neither answer nor heed its end."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.status() == psutil.STATUS_STOPPED:
                logger.warning("process %d (%s) was stopped and goes on", process.pid, process.name())
                process.resume()


def names(processes: Sequence[psutil.Process]) -> str:
    """Return what processes that live are called, for people."""
    return ", ".join(f"{process.pid} ({process.name()})" for process in processes if is_alive(process))
