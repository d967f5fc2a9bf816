"""What an earlier site left running when the next one comes up."""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack

import psutil
import pytest

from blocks.settings import Settings
from flows.site import services
from flows.warm_pool.run_processes import SERVICE_MARK
from tasks.processes.ties import wait_until_gone


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
    services._end_leftovers(tmp_path, [run])
    assert not wait_until_gone([service], 5)
    assert run.is_running()
    services._end_leftovers(tmp_path)
    assert not wait_until_gone([run], 5)


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
