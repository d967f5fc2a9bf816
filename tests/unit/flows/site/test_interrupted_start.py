"""A site that is stopped, or whose supervisord is killed, while `plaza up` waits for it: a line says which."""

from __future__ import annotations

import time

import pytest

from blocks.settings import Settings
from flows.site import readiness
from flows.site.running_site import RunningSite
from flows.site.supervision import ServiceFailed, Supervisor
from flows.site.wanted import want


@pytest.fixture
def wait(tmp_path, monkeypatch):
    """Wait for a site of which supervisord isn't there (any more)."""
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("PLAZA_RECIPE_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(readiness, "process_environment", lambda *_: {})
    site = RunningSite(tmp_path, "http://127.0.0.1:9/api", "http://127.0.0.1:9", "tcp://127.0.0.1:9")
    return lambda: readiness.wait_until_ready(
        Supervisor(tmp_path), Settings(home=tmp_path), site, tmp_path, time.monotonic() + 20
    )


def test_killed_supervisor_is_told(wait, tmp_path):
    (tmp_path / "run" / "supervisord.pid").write_text("4194305\n")  # beyond the kernel's last
    with pytest.raises(ServiceFailed, match="supervisord was killed while the site came up"):
        wait()


def test_plaza_down_meanwhile_is_told(wait):
    with pytest.raises(readiness.StoppedMeanwhile, match="was stopped while it came up"):
        wait()


def test_an_end_that_plaza_down_has_not_made_is_none_of_its_kind(wait, tmp_path):
    want(tmp_path)
    with pytest.raises(ServiceFailed, match="was stopped while it came up") as failed:
        wait()
    assert not isinstance(failed.value, readiness.StoppedMeanwhile)
