"""Ties between processes, so that none outlives what it belongs to (Linux).

    python -m tasks.processes.ties MODULE ARGUMENTS…

runs a module that gets SIGTERM when the process that started it ends, however it ends.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import select
import signal
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress

import psutil

# <linux/prctl.h>; Python has no name for them
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def _prctl(option: int, argument: int) -> None:
    # None: the C library that this process has loaded.
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, argument, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}, {argument}): {os.strerror(number)}")


def end_with_parent(parent: int, signal_number: int = signal.SIGTERM) -> None:
    """Have the kernel signal this process when the thread that started it ends.

    It survives `exec`, but not a change of user: call it after that.

    Parameters
    ----------
    parent
        Process id of the parent, as it was when this process began: if it's gone by now, the signal is sent at once.
    """
    _prctl(_PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal_number)


def end_with(pid: int) -> None:
    """Send SIGTERM to this process when another one, which needn't be its parent, ends.

    Unlike `end_with_parent` it doesn't depend on the thread that started this process.
    """
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        os.kill(os.getpid(), signal.SIGTERM)
        return

    def watch() -> None:
        # A pidfd is readable once its process has ended; unlike a number it never means a later process.
        select.select([watched], [], [])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name=f"watch {pid}", daemon=True).start()


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent dies, so that they're reaped and can be found."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def is_alive(process: psutil.Process) -> bool:
    """Say whether a process runs: a zombie, which waits for a slow init to reap it, does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until_gone(processes: Iterable[psutil.Process], timeout: float) -> list[psutil.Process]:
    """Wait until processes have ended, at most `timeout` seconds, and return those that have not."""
    deadline = time.monotonic() + timeout
    alive = [process for process in processes if is_alive(process)]
    while alive and time.monotonic() < deadline:
        time.sleep(0.05)
        alive = [process for process in alive if is_alive(process)]
    return alive


def kill(processes: Iterable[psutil.Process]) -> None:
    """Send SIGKILL to those processes that still are."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


if __name__ == "__main__":
    end_with_parent(os.getppid())
    module, sys.argv = sys.argv[1], sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
