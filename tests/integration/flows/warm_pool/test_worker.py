"""The warm worker on a real server: runs start, end, crash and are cancelled as with Prefect's own workers."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import psutil
import pytest

from flows.warm_pool.run_processes import SERVER_TITLE
from tests.support.site_under_test import SiteUnderTest, wait_for

pytestmark = pytest.mark.slow


CANCELLING = {"type": "CANCELLING", "name": "Cancelling"}
SUSPENDED = {  # as Prefect's UI sets it
    "type": "PAUSED",
    "name": "Suspended",
    "state_details": {"pause_reschedule": True, "pause_timeout": "2099-01-01T00:00:00Z"},
}


def _set_state(site: SiteUnderTest, run: str, state: dict[str, Any]) -> None:
    site.api(f"flow_runs/{run}/set_state", {"state": state, "force": True})


def _past_states(site: SiteUnderTest, run: str) -> list[str]:
    return [state["name"] for state in site.api(f"flow_run_states/?flow_run_id={run}")]


def _fork_servers(site: SiteUnderTest) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if _is_fork_server(process, site)]


def _fork_server(site: SiteUnderTest) -> psutil.Process:
    """Return the fork server, when that of a worker before is gone."""
    (found,) = wait_for(lambda: len(found := _fork_servers(site)) == 1 and found, "one fork server")
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
    _set_state(runtime_site, run, CANCELLING)
    runtime_site.wait_for_state(run, "Cancelled")
    wait_for(lambda: not psutil.pid_exists(pid), "the process gone")
    wait_for(diary.with_suffix(".cancelled").exists, "the hook")


def test_killed_run_is_crashed_once_and_runs_its_hook(runtime_site):
    run, pid, diary = runtime_site.linger("to-kill")
    os.kill(pid, signal.SIGKILL)
    runtime_site.wait_for_state(run, "Crashed")
    wait_for(diary.with_suffix(".crashed").exists, "the hook")
    other, other_pid, _ = runtime_site.linger("after-the-kill")  # by now, a second report would have come
    assert _past_states(runtime_site, run).count("Crashed") == 1
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


def test_suspended_run_stops_stays_suspended_and_is_resumed(runtime_site):
    run, pid, diary = runtime_site.linger("to-suspend")
    _set_state(runtime_site, run, SUSPENDED)
    wait_for(lambda: not psutil.pid_exists(pid), "the process gone")
    other, other_pid, _ = runtime_site.linger("after-the-suspension")  # by now, a crash would have been reported
    assert runtime_site.state(run) == "Suspended"
    diary.unlink()
    runtime_site.api(f"flow_runs/{run}/resume", {})
    resumed = int(wait_for(lambda: diary.exists() and diary.read_text(), "the flow's first line once more"))
    for end in (resumed, other_pid):
        os.kill(end, signal.SIGKILL)
    for end in (run, other):
        runtime_site.wait_for_state(end, "Crashed")


def test_killed_worker_is_replaced_and_its_runs_are_adopted(runtime_site):
    diary = runtime_site.diaries / "survivor"
    survivor = runtime_site.start("linger/trial", diary=str(diary), seconds=20)
    names = ("orphan-to-cancel", "orphan-to-suspend", "orphan-to-die", "dead-orphan", "cancelled-orphan")
    (cancelled, suspended, dying, dead, early), pids, diaries = zip(*map(runtime_site.linger, names), strict=True)
    wait_for(diary.exists, "the flow's first line")
    worker = _fork_server(runtime_site).parent()
    worker.suspend()
    _set_state(runtime_site, early, CANCELLING)
    os.kill(pids[3], signal.SIGKILL)
    worker.kill()
    runtime_site.wait_for_state(dead, "Crashed")
    wait_for(diaries[3].with_suffix(".crashed").exists, "the hook of the dead run")
    runtime_site.wait_for_state(early, "Cancelled")
    wait_for(diaries[4].with_suffix(".cancelled").exists, "the hook of the run that was cancelled before")
    _set_state(runtime_site, cancelled, CANCELLING)
    _set_state(runtime_site, suspended, SUSPENDED)
    os.kill(pids[2], signal.SIGKILL)
    runtime_site.wait_for_state(dying, "Crashed")
    runtime_site.wait_for_state(cancelled, "Cancelled")
    wait_for(diaries[0].with_suffix(".cancelled").exists, "the hook of the cancelled run")
    wait_for(lambda: not any(map(psutil.pid_exists, pids)), "the processes gone")
    assert runtime_site.state(suspended) == "Suspended"
    assert "Crashed" not in _past_states(runtime_site, cancelled)
    runtime_site.wait_for_state(survivor, "Completed")


def test_worker_that_is_started_anew_leaves_its_runs_and_what_had_not_begun_is_taken_again(runtime_site):
    orphan, pid, _ = runtime_site.linger("left")
    fork_server = _fork_server(runtime_site)
    worker = fork_server.parent()
    fork_server.suspend()
    diary = runtime_site.diaries / "not-begun"
    run = runtime_site.start("note-start/trial", diary=str(diary))
    runtime_site.wait_for_state(run, "Submitting")
    worker.terminate()
    wait_for(lambda: not psutil.pid_exists(worker.pid), "the worker gone")
    assert psutil.pid_exists(pid)
    assert runtime_site.state(orphan) == "Running"
    fork_server.kill()
    runtime_site.wait_for_state(run, "Completed")
    assert _past_states(runtime_site, run).count("Scheduled") == 2
    runtime_site.wait_for_state(orphan, "Crashed")
