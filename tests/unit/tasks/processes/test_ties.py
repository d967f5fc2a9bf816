"""Processes that end with others."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from tasks.processes.ties import is_alive, kill, wait_until_gone

SLEEP = "import time; time.sleep(600)"
TIED_TO_PARENT = f"""
import os
from tasks.processes.ties import end_with_parent
end_with_parent(os.getppid())
print(flush=True)
{SLEEP}
"""
PARENT = f"""
import subprocess, sys
print(subprocess.Popen([sys.executable, "-c", {TIED_TO_PARENT!r}]).pid, flush=True)
{SLEEP}
"""
TIED_TO_OTHER = f"""
import sys
from tasks.processes.ties import end_with
end_with(int(sys.argv[1]))
print(flush=True)
{SLEEP}
"""


@pytest.fixture
def sleeper():
    with subprocess.Popen([sys.executable, "-c", SLEEP]) as process:
        yield process
        process.kill()


def test_process_ends_when_its_parent_is_killed():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        assert parent.stdout.readline() == "\n"  # the child is tied
        parent.kill()
    assert wait_until_gone([child], timeout=60) == []


def test_process_ends_with_another_that_is_not_its_parent(sleeper):
    with subprocess.Popen([sys.executable, "-c", TIED_TO_OTHER, str(sleeper.pid)], stdout=subprocess.PIPE) as tied:
        tied.stdout.readline()
        assert tied.poll() is None
        sleeper.kill()
        assert tied.wait(timeout=60) == -15


def test_zombie_is_not_alive(sleeper):
    process = psutil.Process(sleeper.pid)
    assert is_alive(process)
    os.kill(sleeper.pid, 9)
    assert wait_until_gone([process], timeout=60) == []  # nobody has reaped it yet
    assert process.status() == psutil.STATUS_ZOMBIE


def test_process_that_stays_is_returned_and_can_be_killed(sleeper):
    process = psutil.Process(sleeper.pid)
    assert wait_until_gone([process], timeout=0.1) == [process]
    kill([process])
    assert wait_until_gone([process], timeout=60) == []
