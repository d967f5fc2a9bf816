"""What Prefect's server is told of its database."""

import subprocess
import sys

import pytest
from prefect.settings import Settings

from flows.site.api_server.database import MOST_CONNECTIONS
from flows.site.api_server.server import server_environment
from flows.site.ports import listen


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Prefect's settings of the server, as Prefect reads them."""
    for name, value in server_environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    return Settings().server


def test_a_flood_of_requests_waits_for_connections_rather_than_fail(server):
    pool = server.database.sqlalchemy
    most = pool.pool_size + pool.max_overflow
    assert 30 <= most <= MOST_CONNECTIONS / 2  # psql and a server that is being restarted find some, too
    # 500 at once, at the 20 a second that a core serves
    assert pool.pool_timeout >= 2 * 500 / 20
    assert min(server.database.timeout, server.database.connection_timeout) >= 2 * 500 / 20


def test_the_ui_is_unpacked_in_the_home_as_the_code_may_be_another_users(server, tmp_path):
    assert server.ui.static_directory == str(tmp_path / "prefect" / "ui")


def test_the_socket_is_taken_from_the_standard_input_and_goes_to_no_child():
    code = (
        "import socket, os, stat, subprocess, sys\n"
        "from flows.site.api_server.server import take_socket\n"
        "taken = take_socket()\n"
        'look = \'import os; print(*(os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") \'\n'
        "look += 'if os.path.exists(f\"/proc/self/fd/{n}\")))'\n"
        "seen = subprocess.run([sys.executable, '-c', look], capture_output=True, text=True, check=True).stdout\n"
        "assert 'socket:' not in seen, seen\n"
        "print(taken.getsockname()[1])\n"
    )
    with listen(0, "the test", "PORT") as ours:
        done = subprocess.run([sys.executable, "-c", code], stdin=ours.fileno(), capture_output=True, text=True)
        assert done.stdout.strip() == str(ours.getsockname()[1]), done.stderr


def test_all_runs_that_wait_are_listed(server):
    assert server.api.default_limit >= 1_400
