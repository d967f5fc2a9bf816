"""The warm worker on a real server: runs start, end, crash and are cancelled as with Prefect's own workers."""

from __future__ import annotations

import os
import signal
import time

import psutil
import pytest

from flows.warm_pool.run_processes import SERVER_TITLE
from tests.support.site_under_test import SiteUnderTest, wait_for

pytestmark = pytest.mark.slow


def _fork_server(site: SiteUnderTest) -> psutil.Process:
    (found,) = (process for process in psutil.process_iter() if _is_fork_server(process, site))
    return found


def _is_fork_server(process: psutil.Process, site: SiteUnderTest) -> bool:
    try:
        of = process.environ().get("PLAZA_SERVICE_OF")
        return of == str(site.settings.home) and SERVER_TITLE in " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):  # any process of the machine, which may end meanwhile
        return False


def test_run_is_forked_from_the_warm_process_and_soon_there(runtime_site):
    diary = runtime_site.diaries / "noted"
    asked = time.time()
    run = runtime_site.start("note-start/trial", diary=str(diary))
    runtime_site.wait_for_state(run, "Completed")
    started, _, parent = diary.read_text().split()
    assert int(parent) == _fork_server(runtime_site).pid
    assert float(started) - asked < 30  # the figure is in docs/performance.md; here the machine may be busy


def test_printed_lines_go_to_the_log_of_flow_runs(runtime_site):
    run, pid, _ = runtime_site.linger("printing")
    log = runtime_site.settings.home / "logs" / "flow-runs.log"
    wait_for(lambda: "lingering, said the flow" in log.read_text(), "the print in the log")
    assert "linger" in " ".join(psutil.Process(pid).cmdline())  # the process says which flow it runs
    os.kill(pid, signal.SIGKILL)
    runtime_site.wait_for_state(run, "Crashed")


def test_cancelled_run_ends_and_runs_its_hook(runtime_site):
    run, pid, diary = runtime_site.linger("to-cancel")
    runtime_site.api(f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})
    runtime_site.wait_for_state(run, "Cancelled")
    wait_for(lambda: not psutil.pid_exists(pid), "the process gone")
    wait_for(diary.with_suffix(".cancelled").exists, "the hook")


def test_killed_run_is_crashed_once_and_runs_its_hook(runtime_site):
    run, pid, diary = runtime_site.linger("to-kill")
    os.kill(pid, signal.SIGKILL)
    runtime_site.wait_for_state(run, "Crashed")
    wait_for(diary.with_suffix(".crashed").exists, "the hook")
    other, other_pid, _ = runtime_site.linger("after-the-kill")  # by now, a second report would have come
    states = [state["name"] for state in runtime_site.api(f"flow_run_states/?flow_run_id={run}")]
    assert states.count("Crashed") == 1
    os.kill(other_pid, signal.SIGKILL)
    runtime_site.wait_for_state(other, "Crashed")


def test_dead_fork_server_takes_its_runs_along_and_is_replaced(runtime_site):
    run, pid, diary = runtime_site.linger("orphan")
    before = _fork_server(runtime_site)
    before.kill()
    runtime_site.wait_for_state(run, "Crashed")
    wait_for(lambda: not psutil.pid_exists(pid), "the process gone")
    wait_for(diary.with_suffix(".crashed").exists, "the hook")
    next_diary = runtime_site.diaries / "next"
    runtime_site.wait_for_state(runtime_site.start("note-start/trial", diary=str(next_diary)), "Completed")
    assert int(next_diary.read_text().split()[2]) == _fork_server(runtime_site).pid != before.pid


def test_killed_worker_leaves_its_runs_alone_and_is_replaced(runtime_site):
    diary = runtime_site.diaries / "survivor"
    run = runtime_site.start("linger/trial", diary=str(diary), seconds=8)
    wait_for(diary.exists, "the flow's first line")
    worker = _fork_server(runtime_site).parent()
    worker.kill()
    runtime_site.wait_for_state(run, "Completed")
    later = runtime_site.diaries / "by-the-next-worker"
    runtime_site.wait_for_state(runtime_site.start("note-start/trial", diary=str(later)), "Completed")
