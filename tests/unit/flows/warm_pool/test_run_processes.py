"""The processes that have flow runs, found among all of the machine."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from uuid import uuid4

import psutil
import pytest

from flows.warm_pool.run_processes import (
    SERVER_TITLE,
    SERVICE_MARK,
    FoundProcess,
    end_group,
    find_run_processes,
    processes_of_runs,
    run_of_title,
    run_title,
)

# has a title, says so, forks if it's told to, and stays until its input ends
PROCESS = """
import os, sys, setproctitle
setproctitle.setproctitle(sys.argv[1])
if sys.argv[2] == "forks" and os.fork() == 0:
    os.setsid() if sys.argv[3] == "apart" else None
    setproctitle.setproctitle(sys.argv[4])
os.write(1, b"ready\\n")  # in one piece, as two may say so
sys.stdin.read()
"""
ROOM = "-" * 100  # in the command line, for the titles


@pytest.fixture
def titled(tmp_path):
    """Start processes of titles, as a site's with the home folder `tmp_path`."""
    with ExitStack() as processes:

        def start(title, *forks, home=tmp_path, session=True):
            return processes.enter_context(_process(title, home, forks, session))

        yield start


@contextmanager
def _process(title, home, forks, session):
    command = [sys.executable, "-c", PROCESS, title, *(forks or ("alone",)), ROOM]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, SERVICE_MARK: str(home), "SPT_NOENV": "1"},
        start_new_session=session,
    )
    with process:
        for _ in range(2 if forks else 1):
            assert process.stdout.readline() == b"ready\n"
        try:
            yield process
        finally:
            process.stdin.close()


def test_run_is_read_from_the_title_of_its_process():
    run = uuid4()
    assert run_of_title(run_title(run, "xia2-dials", "xia2-dials · dcid 7")) == run
    assert run_of_title(run_title(run, "x" * 500, "")[:60]) == run  # cut where the command line's room ends


_RUN = "e3e8f47c-bbe1-43c2-9c3d-ea604d782291"


@pytest.mark.parametrize("title", [SERVER_TITLE, "plaza: ", "python -m flows", _RUN, f"plaza: {_RUN}"[:-1]])
def test_other_titles_are_no_runs(title):
    assert run_of_title(title) is None


def test_runs_of_the_site_are_found_and_no_others(titled, tmp_path):
    run, other = uuid4(), uuid4()
    process = titled(run_title(run, "flow", "name"))
    titled(run_title(other, "flow", "name"), home=tmp_path / "other")
    found = find_run_processes(tmp_path)
    assert {each: found.runs[each].pid for each in found.runs} == {run: process.pid}
    assert found.is_complete


def test_what_a_run_forks_is_not_the_run(titled, tmp_path):
    run = uuid4()
    title = run_title(run, "flow", "name")
    process = titled(title, "forks", "along", title)
    assert find_run_processes(tmp_path).runs[run].pid == process.pid


def test_run_that_has_just_been_forked_can_not_be_told_yet(titled, tmp_path):
    titled(SERVER_TITLE, "forks", "apart", SERVER_TITLE)
    assert not find_run_processes(tmp_path).is_complete


def test_runs_need_their_fork_server_and_what_they_started(titled, tmp_path):
    server = titled(SERVER_TITLE, "forks", "apart", run_title(uuid4(), "flow", "name"))
    idle = titled(SERVER_TITLE)
    pids = {process.pid for process in processes_of_runs(tmp_path)}
    assert server.pid in pids
    assert len(pids - {server.pid, os.getpid()}) == 1
    assert idle.pid not in pids


async def test_end_of_a_found_process_is_seen(titled):
    process = titled(run_title(uuid4(), "flow", "name"))
    found = FoundProcess(psutil.Process(process.pid))
    waiting = asyncio.create_task(found.wait())
    await asyncio.sleep(0)
    assert found.returncode is None
    end_group(psutil.Process(process.pid), signal.SIGKILL)
    await asyncio.wait_for(waiting, 30)
    assert found.returncode is not None


def test_process_that_is_gone_can_not_be_watched(titled):
    process = titled(run_title(uuid4(), "flow", "name"))
    seen = psutil.Process(process.pid)
    process.kill()
    process.wait()
    with pytest.raises(ProcessLookupError):
        FoundProcess(seen)
    end_group(seen, signal.SIGKILL)  # nothing to be ended, and nobody else's process is
