"""Which processes of a site have flow runs, whoever had them forked: asked of the kernel, which forgets nothing.

A fork server outlives its worker until its children have ended, and these carry their run's id in their titles. So
a worker finds the runs of those before it without a register on disk, in which a full disk would leave gaps, a power
cut would leave entries, and a number might be another process's by now.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psutil

from tasks.processes.ties import is_alive

SERVER_TITLE = "plaza: fork server"
SERVICE_MARK = "PLAZA_SERVICE_OF"
"""In the environment of every process of a site, which is what the kernel shows of it: the home folder."""

_PREFIX = "plaza: "
_ID_LENGTH = 36


def run_title(flow_run_id: UUID, flow_name: str, run_name: str) -> str:
    """Return the title of a run's process; the id first, as there is room for as much as the command line had."""
    return f"{_PREFIX}{flow_run_id} {flow_name} / {run_name}"


def run_of_title(title: str) -> UUID | None:
    """Return the run whose process has this title; None if it's another process's."""
    try:
        return UUID(title.removeprefix(_PREFIX)[:_ID_LENGTH]) if title.startswith(_PREFIX) else None
    except ValueError:
        return None


@dataclass(frozen=True)
class RunProcesses:
    """The processes of a site that have flow runs.

    Parameters
    ----------
    runs
        By the id of the flow run.
    is_complete
        Whether each could be told. One that was forked just now bears its fork server's title for a moment.
    """

    runs: Mapping[UUID, psutil.Process]
    is_complete: bool = True


def find_run_processes(home: Path) -> RunProcesses:
    """Find the processes that have flow runs of the site with this home folder."""
    servers: dict[int, psutil.Process] = {}
    runs: dict[UUID, psutil.Process] = {}
    for process, title in _titled(home):
        if title == SERVER_TITLE:
            servers[process.pid] = process
        # Its own session: what the run forks from its process has the same title
        elif (run := run_of_title(title)) and _leads_session(process):
            runs[run] = process
    return RunProcesses(runs, not any(_parent(process) in servers for process in servers.values()))


def processes_of_runs(home: Path) -> list[psutil.Process]:
    """Find all that runs need to go on: their processes with all that these started, and their fork servers."""
    found: dict[int, psutil.Process] = {}
    for process in find_run_processes(home).runs.values():
        with suppress(psutil.NoSuchProcess):
            for each in (process, *process.children(recursive=True), *filter(None, [process.parent()])):
                found[each.pid] = each
    return [*found.values()]


def accounts_of(home: Path) -> frozenset[int]:
    """Return the users whose processes may be a site's: any other's may bear its mark, too, for whoever looks as root.

    They're the home folder's owner, and root where that looks.
    """
    owner = home.stat().st_uid if home.exists() else os.geteuid()
    return frozenset({owner, 0} if os.geteuid() == 0 else {owner})


def has_mark(process: psutil.Process, home: Path, accounts: Collection[int]) -> bool:
    """Tell whether a process bears the mark of the site with this home folder, and is one of these users'.

    The user is who started it, which a program that has the rights of its file's owner (setuid) can't change.
    """
    return process.uids().real in accounts and process.environ().get(SERVICE_MARK) == str(home)


def _titled(home: Path) -> Iterator[tuple[psutil.Process, str]]:
    accounts = accounts_of(home)
    for process in psutil.process_iter():
        try:
            title = " ".join(process.cmdline()).strip()
            if title.startswith(_PREFIX) and has_mark(process, home, accounts) and is_alive(process):
                yield process, title
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # ended while it was looked at; another user's
            continue


def _leads_session(process: psutil.Process) -> bool:
    try:
        return os.getsid(process.pid) == process.pid
    except ProcessLookupError:
        return False


def _parent(process: psutil.Process) -> int:
    try:
        return process.ppid()
    except psutil.NoSuchProcess:
        return 0


class FoundProcess:
    """A run's process that somebody else started, with the attributes that Prefect's supervision looks at.

    Nobody but its parent learns how it ended, so its `returncode` says no more than that it has.

    Raises
    ------
    ProcessLookupError
        It's gone.
    """

    def __init__(self, process: psutil.Process) -> None:
        self.pid = process.pid
        self.returncode: int | None = None
        self._ended = os.pidfd_open(process.pid)  # unlike the number it never means a later process
        if not is_alive(process):
            os.close(self._ended)
            raise ProcessLookupError(f"process {process.pid} is gone")

    async def wait(self) -> None:
        """Wait until it has ended; it can be waited for once."""
        loop = asyncio.get_running_loop()
        has_ended = loop.create_future()

        def note_end() -> None:  # the file stays readable: it may be called again before it's removed
            if not has_ended.done():
                has_ended.set_result(None)

        loop.add_reader(self._ended, note_end)
        try:
            await has_ended
            self.returncode = 0
        finally:
            loop.remove_reader(self._ended)
            os.close(self._ended)


def end_group(process: psutil.Process, signal_number: signal.Signals) -> None:
    """Signal a run's process and all of its group."""
    if is_alive(process):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal_number)
