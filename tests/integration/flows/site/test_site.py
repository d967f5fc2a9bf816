"""A site as a whole: it heals, and nothing of it is left whatever happens to the process that runs it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlparse

import psutil
import pytest

from blocks.settings import Settings
from flows.site import health, services
from flows.site.ports import PortTaken, listen
from flows.site.processes import site_processes
from flows.site.running_site import read_running_site
from flows.site.supervision import ServiceFailed, Supervisor
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
        "PYTHONPATH": os.pathsep.join([str(RUNTIME_SITE), *filter(None, [os.environ.get("PYTHONPATH")])]),
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
        assert any("the supervisor was killed" in problem for problem in health.status(settings).problems)
        wait_for(lambda: not any(is_alive(process) for process in processes), "all processes gone", timeout=20)
        [problem] = health.status(settings).problems
        assert "nothing of the site remains; `plaza up`" in problem
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
    # Another account would be sent the secret by all that asks meanwhile
    with pytest.raises(PortTaken):
        listen(urlparse(runtime_site.site.api_url).port, "a stranger", "PORT")
    assert runtime_site.api("health")  # by the next server: nobody is refused
    wait_for(lambda: not set(before.items()) & (set(pids().items()) - {("worker", before["worker"])}), "new processes")
    wait_for_health(runtime_site.settings)
    run, *_ = runtime_site.linger("after-restart")
    runtime_site.api(f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})
    runtime_site.wait_for_state(run, "Cancelled")  # the worker hears cancellations again


def test_a_part_that_hangs_or_is_gone_is_said_until_it_works_again(runtime_site):
    def fork_server():
        return next(each for each in health.status(settings).facts.processes if each.is_ready_fork_server).pid

    settings = runtime_site.settings
    wait_for_health(settings)
    worker = next(each.pid for each in health.status(settings).services if each.name == "worker")
    os.kill(worker, signal.SIGSTOP)
    wait_for_problem(settings, f"process {worker} (worker) is stopped")
    os.kill(worker, signal.SIGCONT)
    wait_for_health(settings)
    os.kill(fork_server(), signal.SIGKILL)
    wait_for_problem(settings, "no fork server ready")
    wait_for_health(settings)
    runtime_site.api("work_pools/plaza", {"is_paused": True}, method="PATCH")
    wait_for_problem(settings, "`plaza prefect work-pool resume plaza`")
    runtime_site.api("work_pools/plaza", {"is_paused": False}, method="PATCH")
    wait_for_health(settings)


def test_a_site_whose_addresses_are_spoilt_says_so(runtime_site):
    file = runtime_site.settings.home / "site.json"
    content = file.read_bytes()
    try:
        for spoilt in (b"", content[:20]):
            file.write_bytes(spoilt)
            [problem] = health.status(runtime_site.settings, expected=()).problems
            assert "`plaza up` writes it anew" in problem
    finally:
        file.write_bytes(content)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_is_survived_and_all_goes_on_when_there_is_room(settings, tmp_path):
    """Services that end meanwhile are started again and again; the supervisor, which logs that, lives on."""
    settings.home.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=150m,mode=700", "tmpfs", settings.home], check=True)
    with ExitStack() as stack:
        stack.callback(subprocess.run, ["umount", "--lazy", settings.home], check=True)
        stack.callback(services.down, settings)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(RUNTIME_SITE), prepend=os.pathsep)
            site = SiteUnderTest(
                settings, services.up(settings, deployments=RUNTIME_SITE, modules=["runtime_flows"]), tmp_path
            )
        supervisor = Supervisor(settings.home.resolve()).process
        filler = settings.home / "filler"
        fill(filler)
        for name in ("server", "database"):
            os.kill(pids(settings)[name], signal.SIGKILL)
        wait_for(lambda: {state.state for state in health.status(settings).services} & {"BACKOFF", "STARTING"}, "tries")
        assert wait_for_problem(settings, "FULL. Make room").startswith("disk of the home")
        filler.unlink()
        wait_for_health(settings)
        assert supervisor.is_running()
        site.linger("after-the-full-disk")


def fill(file):
    """Take all the room that's left on a disk."""
    with suppress(OSError), file.open("wb", buffering=0) as stream:
        while stream.write(bytes(4096)):
            pass


def pids(settings):
    return {state.name: state.pid for state in health.status(settings).services}


def wait_for_health(settings):
    wait_for(lambda: not health.status(settings, expected=("linger/trial",)).problems, "a healthy site", pause=0.2)


def wait_for_problem(settings, said):
    """Wait until the status says something, and return the line."""
    return wait_for(
        lambda: next((line for line in health.status(settings, expected=()).problems if said in line), ""), said
    )


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
            "PYTHONPATH": os.pathsep.join([str(RUNTIME_SITE), *filter(None, [os.environ.get("PYTHONPATH")])]),
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
