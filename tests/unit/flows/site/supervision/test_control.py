"""supervisord's configuration, and what is known of one that doesn't answer."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from blocks.settings import Settings
from flows.site import foreground, readiness
from flows.site.foreground import tell_systemd
from flows.site.ports import PortTaken, listen
from flows.site.supervision import Service, Supervisor
from flows.site.supervision.control import configuration
from flows.site.supervision.process import LONGEST_PAUSE_S, change_services
from flows.site.wanted import want
from tasks.processes.ties import wait_until_gone
from tests.support.site_under_test import wait_for

SERVICE = Service("worker", ("flows.site.worker_service",), 10)


def test_a_service_is_started_for_ever(tmp_path):
    section = configuration(tmp_path, [SERVICE])["program:worker"]
    assert section["autorestart"] == "true"
    assert int(section["startretries"]) > 10**9


def test_pauses_between_starts_stay_short(monkeypatch):
    from supervisor import events, process, states

    monkeypatch.setattr(process, "Subprocess", process.Subprocess)  # for it to be put back
    monkeypatch.setattr(events, "notify", lambda _: None)
    change_services(listens=None)
    tried = process.Subprocess.__new__(process.Subprocess)
    tried.state, tried.backoff, tried.config, tried.group = states.ProcessStates.STARTING, 500, None, None
    tried.event, tried.pid = None, 0
    tried.change_state(states.ProcessStates.BACKOFF)
    assert tried.delay - time.time() <= LONGEST_PAUSE_S


SERVES = """
import os, socket
with socket.socket(fileno=0) as listening:
    while True:
        connection, _ = listening.accept()
        with connection:
            connection.sendall(str(os.getpid()).encode())
"""
TELLS_ITS_FILES = """
import os, pathlib, time
files = [pathlib.Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
pathlib.Path("other.new").write_text(" ".join(os.readlink(file) for file in files if file.exists()))
os.rename("other.new", "other.files")
time.sleep(600)
"""


def test_a_port_is_the_sites_while_its_server_is_away_and_clients_wait_for_the_next(tmp_path):
    (tmp_path / "serves.py").write_text(SERVES)
    (tmp_path / "other.py").write_text(TELLS_ITS_FILES)
    supervisor = Supervisor(tmp_path)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    services = [Service("server", ("serves",), 10, listens=True), Service("other", ("other",), 20)]
    with listen(0, "the test", "PORT") as listening:
        address = listening.getsockname()
        supervisor.start(services, environment, listening=listening)
    try:
        first = _ask(address)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(PortTaken):
            listen(address[1], "a stranger", "PORT")
        assert _ask(address) != first
        wait_for((tmp_path / "other.files").exists, "the other service tells which files it has")
        assert "socket:" not in (tmp_path / "other.files").read_text()
    finally:
        supervisord = supervisor.process
        supervisor.shut_down()
        assert not wait_until_gone([supervisord], 20)
    listen(address[1], "the next site", "PORT").close()


def _ask(address):
    with socket.create_connection(address, timeout=30) as asking:
        return int(asking.recv(100))


def test_a_supervisor_that_does_not_answer_is_not_waited_for(tmp_path):
    (tmp_path / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as frozen:
        frozen.bind(str(tmp_path / "run" / "supervisor.sock"))
        frozen.listen()
        began = time.monotonic()
        assert not Supervisor(tmp_path, timeout_s=0.2).is_alive()
    assert time.monotonic() - began < 5


@pytest.fixture
def supervisord(tmp_path):
    """Something that looks like supervisord, with its process file."""
    (tmp_path / "run").mkdir()
    command = [sys.executable, "-c", "import time; time.sleep(60)", str(tmp_path / "supervisord.conf")]
    with subprocess.Popen(command) as process:
        (tmp_path / "run" / "supervisord.pid").write_text(f"{process.pid}\n")
        yield process
        process.kill()


def test_a_killed_supervisor_has_died_and_one_that_was_told_to_end_has_not(supervisord, tmp_path):
    supervisor = Supervisor(tmp_path)
    assert supervisor.process.pid == supervisord.pid
    assert not supervisor.has_died
    supervisord.kill()
    supervisord.wait()
    assert supervisor.process is None
    assert supervisor.has_died
    (tmp_path / "run" / "supervisord.pid").unlink()
    assert not supervisor.has_died


@pytest.mark.parametrize("content", ["", "what?", "{pid}"])
def test_a_process_file_that_is_spoilt_or_old_is_nobodys(content, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "supervisord.pid").write_text(content.format(pid=os.getpid()))
    assert Supervisor(tmp_path).process is None


def test_who_stays_hears_that_the_supervisor_was_killed(supervisord, tmp_path, monkeypatch):
    monkeypatch.setattr(foreground, "tell_systemd", lambda _: supervisord.send_signal(signal.SIGKILL))
    with pytest.raises(foreground.SupervisorDied, match=f"{supervisord.pid}, has died.*`plaza up`"):
        foreground.stay(nothing, Settings(home=tmp_path))


def nothing():
    """Start nothing: it runs already."""


def test_who_stays_ends_in_order_with_the_site(supervisord, tmp_path, monkeypatch):
    def down(_):
        (tmp_path / "run" / "supervisord.pid").unlink()
        supervisord.terminate()

    monkeypatch.setattr(foreground, "tell_systemd", down)
    foreground.stay(nothing, Settings(home=tmp_path))


def test_who_stays_has_the_site_back_that_something_else_than_down_has_stopped(supervisord, tmp_path, monkeypatch):
    def end_in_order(_):
        (tmp_path / "run" / "supervisord.pid").unlink()
        supervisord.terminate()

    monkeypatch.setattr(foreground, "tell_systemd", end_in_order)
    want(tmp_path)
    with pytest.raises(foreground.SupervisorDied, match="not by `plaza down`"):
        foreground.stay(nothing, Settings(home=tmp_path))


def test_who_is_asked_to_end_while_the_site_starts_stops_it(tmp_path, monkeypatch):
    stopped = []
    monkeypatch.setattr(foreground, "down", stopped.append)
    settings = Settings(home=tmp_path)
    foreground.stay(lambda: os.kill(os.getpid(), signal.SIGTERM), settings)
    assert stopped == [settings]


def test_who_stays_ends_in_order_with_a_site_that_is_stopped_while_it_starts(tmp_path):
    def start():
        raise readiness.StoppedMeanwhile("stopped")

    foreground.stay(start, Settings(home=tmp_path))


def test_who_stays_stops_the_site_when_it_is_asked_to_end(supervisord, tmp_path, monkeypatch):
    stopped = []
    monkeypatch.setattr(foreground, "tell_systemd", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    monkeypatch.setattr(foreground, "down", stopped.append)
    settings = Settings(home=tmp_path)
    foreground.stay(nothing, settings)
    assert stopped == [settings]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_systemd_is_told_where_it_listens(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        tell_systemd("READY=1")
        assert systemd.recv(100) == b"READY=1"


def test_without_systemd_nobody_is_told(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    tell_systemd("READY=1")
