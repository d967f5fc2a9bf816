"""The processes of a site, found by the mark in their environment: its services, all that they start, its runs."""

from __future__ import annotations

import pwd
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from flows.site.access.home_folder import POSTGRES_USER
from flows.warm_pool.run_processes import SERVER_TITLE, accounts_of, has_mark, run_of_title
from tasks.processes.ties import is_alive


def site_processes(home: Path) -> list[psutil.Process]:
    """Find every process of the site: those that carry its mark, and their descendants."""
    found: dict[int, psutil.Process] = {}
    accounts = accounts_of(home) | _postgres_account()
    for process in psutil.process_iter():
        try:
            if has_mark(process, home, accounts):
                found |= {each.pid: each for each in (process, *process.children(recursive=True))}
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # ended while it was looked at; another user's
            continue
    return [process for process in found.values() if is_alive(process)]


def _postgres_account() -> set[int]:
    """Return the user whose process PostgreSQL is under root, if there's one yet."""
    with suppress(KeyError):
        return {pwd.getpwnam(POSTGRES_USER).pw_uid}
    return set()


@dataclass(frozen=True)
class ProcessFacts:
    """What is seen of a process from outside.

    Parameters
    ----------
    title
        Its command line, or the name that it has given itself.
    is_stopped
        It's there and does nothing: by SIGSTOP, or in a debugger.
    """

    pid: int
    parent: int
    title: str
    is_stopped: bool = False

    @property
    def is_fork_server(self) -> bool:
        """It forks runs, or will as soon as it has imported what they need."""
        return self.title.startswith(SERVER_TITLE) or "flows.warm_pool.fork_server" in self.title

    @property
    def is_ready_fork_server(self) -> bool:
        """It forks runs."""
        return self.title == SERVER_TITLE

    @property
    def is_flow_run(self) -> bool:
        """It carries a flow run out."""
        return run_of_title(self.title) is not None

    @property
    def is_dask_worker(self) -> bool:
        """It has joined the scheduler: its title has its address then."""
        return self.title.startswith("dask worker [")


def describe(processes: Iterable[psutil.Process]) -> tuple[ProcessFacts, ...]:
    """Return what is seen of processes, without those that have just ended."""
    found = []
    for process in processes:
        try:
            with process.oneshot():
                is_stopped = process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
                title = " ".join(process.cmdline()).strip() or process.name()
                found.append(ProcessFacts(process.pid, process.ppid(), title, is_stopped))
        except psutil.Error:
            continue
    return tuple(found)
