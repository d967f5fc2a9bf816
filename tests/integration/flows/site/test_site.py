"""A site as a whole: it heals, and nothing of it is left whatever happens to the process that runs it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from blocks.settings import Settings
from flows.site import health, services
from flows.site.processes import site_processes
from flows.site.ports import PortTaken
from flows.site.running_site import read_running_site
from flows.site.supervision import ServiceFailed
from tasks.processes.ties import is_alive
from tests.support.site_under_test import RUNTIME_SITE, SiteUnderTest, wait_for

pytestmark = pytest.mark.slow

DEMO = """
import sys, time
from pathlib import Path
from blocks.settings import get_settings
from flows.site.services import running_site
with running_site(get_settings(), deployments=Path(sys.argv[1]), modules=["runtime_flows"]) as site:
    print(site.api_url, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def settings(tmp_path):
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    return Settings(home=tmp_path / "home", recipe_directory=recipes, server_port=0, dask_scheduler="tcp://127.0.0.1:1")


def _processes(settings):
    """Everything of the site, PostgreSQL's processes included."""
    return site_processes(settings.home.resolve())


def _demo(settings):
    environment = os.environ | {
        "PLAZA_HOME": str(settings.home),
        "PLAZA_RECIPE_DIRECTORY": str(settings.recipe_directory),
        "PLAZA_SERVER_PORT": "0",
        "PLAZA_DASK_SCHEDULER": "tcp://127.0.0.1:1",
        "PYTHONPATH": str(RUNTIME_SITE),
    }
    command = [sys.executable, "-c", DEMO, str(RUNTIME_SITE)]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_everything_ends_when_the_demo_is_killed(settings, tmp_path):
    with _demo(settings) as demo:
        assert demo.stdout.readline().startswith("http://127.0.0.1:")
        _, flow_pid, _ = SiteUnderTest(settings, read_running_site(settings), tmp_path).linger("under-way")
        processes = _processes(settings)
        assert "postgres" in {process.name() for process in processes}
        assert flow_pid in {process.pid for process in processes}
        demo.kill()
    wait_for(lambda: not any(is_alive(process) for process in processes), "all processes gone")


def test_everything_ends_when_the_supervisor_is_killed(settings):
    with _demo(settings) as demo:
        demo.stdout.readline()
        processes = _processes(settings)
        psutil.Process(int((settings.home / "run" / "supervisord.pid").read_text())).kill()
        wait_for(lambda: not any(is_alive(process) for process in processes), "all processes gone")
        demo.stdin.close()


def test_everything_ends_with_the_block(settings):
    with _demo(settings) as demo:
        demo.stdout.readline()
        processes = _processes(settings)
        demo.stdin.close()
    assert not any(is_alive(process) for process in processes)
    assert not (settings.home / "site.json").exists()


def test_killed_services_come_back(runtime_site):
    def pids():
        return {state.name: state.pid for state in health.status(runtime_site.settings).services}

    before = pids()
    os.kill(before["database"], signal.SIGKILL)
    os.kill(before["server"], signal.SIGKILL)
    wait_for(lambda: not set(before.items()) & (set(pids().items()) - {("worker", before["worker"])}), "new processes")
    wait_for(lambda: health.status(runtime_site.settings).is_healthy, "a healthy site")
    run, *_ = runtime_site.linger("after-restart")
    runtime_site.api(f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})
    runtime_site.wait_for_state(run, "Cancelled")  # the worker hears cancellations again


def test_up_twice_changes_nothing(runtime_site):
    before = health.status(runtime_site.settings).services
    again = services.up(runtime_site.settings, deployments=RUNTIME_SITE, modules=["runtime_flows"])
    assert again == runtime_site.site == read_running_site(runtime_site.settings)
    assert [s.pid for s in health.status(runtime_site.settings).services] == [s.pid for s in before]


def test_taken_port_is_named_with_its_holder_before_anything_starts(settings):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"port {port} .*process {os.getpid()}.*PLAZA_SERVER_PORT"):
            services.up(settings.model_copy(update={"server_port": port}))
    assert not _processes(settings)


def test_service_that_cannot_start_is_shown_with_the_end_of_its_log(settings):
    with ExitStack() as stack:
        stack.callback(services.down, settings)
        with pytest.raises(ServiceFailed, match=r"(?s)worker ends again and again.*No module named 'no_such_flows'"):
            services.up(settings, deployments=RUNTIME_SITE, modules=["no_such_flows"])
    assert not _processes(settings)


def test_status_of_a_site_that_is_down_is_not_healthy(settings):
    status = health.status(settings)
    assert status.site is None
    assert not status.is_healthy
    assert not services.down(settings)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can try what another user may do")
def test_ordinary_user_with_a_long_home_can_run_a_site():
    """No right of root is needed, and sockets find a place though their names in the home would be too long."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        home = Path(folder) / ("long" * 25)
        environment = os.environ | {
            "HOME": folder,
            "PLAZA_HOME": str(home),
            "PLAZA_RECIPE_DIRECTORY": folder,
            "PLAZA_SERVER_PORT": "0",
            "PLAZA_DASK_SCHEDULER": "tcp://127.0.0.1:1",
            "PYTHONPATH": str(RUNTIME_SITE),
        }
        result = subprocess.run(
            [sys.executable, "-c", DEMO, str(RUNTIME_SITE)],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            user=65534,
            group=65534,
            extra_groups=[],
            check=False,
        )
        assert result.returncode == 0, result.stderr
        assert result.stdout.startswith("http://127.0.0.1:")
        assert (home / "postgres").stat().st_uid == 65534
        assert not list(Path(tempfile.gettempdir()).glob("plaza-65534-*"))


def test_interrupted_demo_says_so_and_leaves_nothing(settings):
    """Ctrl-C while everything starts: no traceback, and no waiting until all is up."""
    environment = os.environ | {"PLAZA_HOME": str(settings.home), "PYTHONUNBUFFERED": "1"}
    # Ctrl-C is ignored by what a shell runs in the background, perhaps these tests
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{heed}; from flows.cli import main; main()", "demo"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        wait_for(lambda: (settings.home / "site.json").exists(), "a site that starts")
        processes = _processes(settings)
        demo.send_signal(signal.SIGINT)
        output, errors = demo.communicate(timeout=180)
    assert demo.returncode == 130
    assert "Interrupted: stopping everything" in output
    assert "Traceback" not in errors
    assert not any(is_alive(process) for process in processes)
    assert not _processes(settings)
