"""What an earlier site left running when the next one comes up."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from contextlib import ExitStack
from uuid import uuid4

import psutil
import pytest

from blocks.settings import Settings
from flows.site import services
from flows.site.leftovers import end_leftovers
from flows.site.processes import site_processes
from flows.site.wanted import is_wanted, want
from flows.warm_pool.run_processes import SERVICE_MARK, find_run_processes, run_title
from tasks.processes.ties import is_alive, wait_until_gone


@pytest.fixture
def left(tmp_path, monkeypatch):
    """Start processes of a site with the home folder `tmp_path`; they aren't waited for as long as true ones."""
    monkeypatch.setattr(
        services, "wait_until_gone", lambda processes, timeout: wait_until_gone(processes, min(timeout, 0.2))
    )
    with ExitStack() as processes:

        def start():
            environment = {**os.environ, SERVICE_MARK: str(tmp_path)}
            process = processes.enter_context(subprocess.Popen(["sleep", "60"], env=environment))
            processes.callback(process.kill)
            return psutil.Process(process.pid)

        yield start


def test_leftovers_are_ended_but_for_the_runs_that_go_on(left, tmp_path):
    run, service = left(), left()
    end_leftovers(tmp_path, [run])
    assert not wait_until_gone([service], 5)
    assert run.is_running()
    end_leftovers(tmp_path)
    assert not wait_until_gone([run], 5)


def test_a_site_is_wanted_until_down(tmp_path):
    (tmp_path / "run").mkdir()
    want(tmp_path)
    assert is_wanted(tmp_path)
    services.down(Settings(home=tmp_path))
    assert not is_wanted(tmp_path)


def test_down_waits_for_another_one_for_a_while_and_tells_what_that_has_stopped(left, tmp_path, monkeypatch):
    process = left()
    began = threading.Event()

    def stop_slowly():
        with services._one_at_a_time(tmp_path):
            began.set()
            time.sleep(0.5)
            process.kill()
            process.wait()

    other = threading.Thread(target=stop_slowly)
    other.start()
    began.wait()
    before = time.monotonic()
    assert services.down(Settings(home=tmp_path))  # it ran when it was called
    assert time.monotonic() - before > 0.3
    other.join()


def test_another_one_that_is_stuck_keeps_nobody_from_stopping_the_site(left, tmp_path, monkeypatch, caplog):
    process = left()
    monkeypatch.setattr(services, "_OTHERS_TIMEOUT_S", 0.2)
    with services._one_at_a_time(tmp_path):
        assert services.down(Settings(home=tmp_path))
    assert "going on" in caplog.text
    assert not is_alive(process)


@pytest.mark.parametrize(
    ("ports", "are_fixed"),
    [
        ({}, True),
        ({"server_port": 0}, False),
        ({"dask_port": 0}, False),
        ({"dask_port": 0, "dask_scheduler": "tcp://here:8786"}, True),
    ],
)
def test_runs_find_the_next_site_if_its_ports_are_fixed(ports, are_fixed, monkeypatch):
    for name in ("PLAZA_SERVER_PORT", "PLAZA_DASK_PORT", "PLAZA_DASK_SCHEDULER"):
        monkeypatch.delenv(name, raising=False)
    assert services._has_fixed_addresses(Settings(**ports)) is are_fixed


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees the marks of other users' processes")
@pytest.mark.parametrize("owner", [0, 65533])
def test_a_process_of_another_account_is_none_of_the_sites(tmp_path, owner):
    os.chown(tmp_path, owner, -1)
    title = run_title(uuid4(), "mimas", "end")
    with ExitStack() as processes:

        def start(user):
            process = processes.enter_context(
                subprocess.Popen(
                    [title, "60"],
                    executable=shutil.which("sleep"),
                    env={SERVICE_MARK: str(tmp_path)},
                    user=user,
                    start_new_session=True,
                )
            )
            processes.callback(process.kill)
            return process.pid

        own, other = start(owner), start(65534)
        assert own != other
        assert {process.pid for process in site_processes(tmp_path)} == {own}
        assert {process.pid for process in find_run_processes(tmp_path).runs.values()} == {own}
