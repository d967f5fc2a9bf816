"""deployments/dev-cluster: a database server for anybody, without systemd, that can be killed and started again."""

import importlib
import os
import pwd
import re
import signal
import socket
import stat
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from blocks.ispyb_connection import open_engine
from tests.support.dev_cluster import DEV_CLUSTER, DevCluster, kill

pytestmark = [pytest.mark.mariadb, pytest.mark.slow]


class MariaDBCluster(DevCluster):
    """The script, and what can be asked of its MariaDB."""

    @property
    def url(self) -> str:
        return self.exports("mariadb")["PLAZA_ISPYB_URL"]

    @property
    def server(self) -> int:
        return self.process("mariadb")

    @property
    def socket(self) -> Path:
        return Path(re.search(r"^socket *= *(\S+)", (self.folder / "mariadb" / "my.cnf").read_text(), re.MULTILINE)[1])

    def ask(self, statement: str) -> object:
        engine = open_engine(self.url)
        try:
            with engine.begin() as connection:
                result = connection.execute(text(statement))
                return result.scalar() if result.returns_rows else None
        finally:
            engine.dispose()


@pytest.fixture
def cluster(tmp_path):
    cluster = MariaDBCluster(tmp_path / "dev-cluster")
    yield cluster
    cluster("down", "--wipe")


def test_up_may_be_said_again_and_down_keeps_all(cluster):
    assert "mariadb up" in cluster("up", "mariadb", "--empty")
    process, url = cluster.server, cluster.url
    cluster.ask("CREATE TABLE mine (x INTEGER)")
    assert "mariadb up" in cluster("up", "mariadb", "--empty")
    assert cluster.server == process
    cluster("down")
    assert (cluster.run("status").returncode, cluster.run("status", "mariadb").returncode) == (1, 1)
    cluster("up", "mariadb", "--empty")
    assert cluster("status").startswith("dev-cluster: mariadb up")
    assert cluster.url == url
    assert cluster.ask("SELECT count(*) FROM mine") == 0


def test_only_we_can_read_the_password_and_others_cannot_come_in(cluster):
    cluster("up", "mariadb", "--empty")
    password = cluster.folder / "mariadb" / "password"
    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    assert password.read_text() in cluster.url
    assert password.read_text() not in Path(f"/proc/{cluster.server}/cmdline").read_text()
    for user in ("root", "plaza"):
        engine = open_engine(re.sub(r"//plaza:[^@]*@", f"//{user}:@", cluster.url))
        with pytest.raises(Exception, match="Access denied"), engine.connect():
            pass
        engine.dispose()


def test_killed_server_comes_back_with_what_was_committed(cluster):
    cluster("up", "mariadb", "--empty")
    cluster.ask("CREATE TABLE mine (x INTEGER) ENGINE=InnoDB")
    cluster.ask("INSERT INTO mine VALUES (1), (2)")
    kill(cluster.server)
    assert cluster.run("status").returncode == 1
    cluster("up", "mariadb", "--empty")
    assert cluster.ask("SELECT count(*) FROM mine") == 2


def test_frozen_server_is_not_up_and_can_be_ended(cluster):
    cluster("up", "mariadb", "--empty")
    process = cluster.server
    os.kill(process, signal.SIGSTOP)
    found = cluster.run("status")
    assert (found.returncode, "doesn't answer" in found.stderr) == (1, True)
    assert "mariadb down" in cluster("down")
    with suppress(FileNotFoundError):  # else a zombie
        assert Path(f"/proc/{process}/cmdline").read_bytes() == b""


def test_folders_have_servers_of_their_own(cluster, tmp_path):
    other = MariaDBCluster(tmp_path / "other")
    try:
        cluster("up", "mariadb", "--empty")
        other("up", "mariadb", "--empty")
        assert len({cluster.url, other.url}) == len({cluster.server, other.server}) == 2
    finally:
        other("down", "--wipe")
    assert cluster.ask("SELECT 1") == 1


def test_port_that_another_program_has_taken_is_given_up(cluster):
    cluster("up", "mariadb", "--empty")
    cluster("down")
    port = int(re.search(r":(\d+)/", cluster.url)[1])
    with socket.create_server(("127.0.0.1", port)):
        assert f"port {port} has been taken" in cluster("up", "mariadb", "--empty")
        assert cluster.ask("SELECT 1") == 1


def test_server_is_lenient_unless_asked_to_be_strict(cluster):
    def mode():
        return cluster.ask("SELECT @@GLOBAL.sql_mode")

    cluster("up", "mariadb", "--empty")
    assert mode() == ""
    cluster("up", "mariadb", "--empty", "--strict")
    assert "STRICT_TRANS_TABLES" in mode()
    cluster("up", "mariadb", "--empty")
    assert mode() == ""


def test_tables_are_made(cluster):
    cluster("up", "mariadb")
    assert cluster.ask("SELECT name FROM ProcessingPipeline WHERE processingPipelineId = 6") == "xia2/DIALS"


def test_nothing_is_left_after_wiping(tmp_path):
    cluster = MariaDBCluster(tmp_path / "mine")
    cluster("up", "mariadb", "--empty")
    in_memory = cluster.socket.parent
    assert in_memory.name.startswith(f"plaza-{os.getuid()}-")
    cluster("down", "--wipe")
    assert not (tmp_path / "mine" / "mariadb").exists()
    assert not in_memory.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_ordinary_user_can_run_it():
    nobody = pwd.getpwnam("nobody")
    folder = Path(subprocess.check_output(["mktemp", "--directory"], user=nobody.pw_uid, text=True).strip())
    cluster = MariaDBCluster(folder, user=nobody.pw_uid, group=nobody.pw_gid)
    if subprocess.run([DEV_CLUSTER, "--help"], user=nobody.pw_uid, capture_output=True).returncode:
        pytest.skip(f"others can't read {DEV_CLUSTER}")
    try:
        cluster("up", "mariadb", "--empty")
        assert Path(f"/proc/{cluster.server}").stat().st_uid == nobody.pw_uid
    finally:
        cluster("down", "--wipe")
        subprocess.run(["rm", "-rf", folder], check=True)


@pytest.mark.parametrize(("service", "package"), [("mariadb", "mariadb-server-core"), ("rabbitmq", "rabbitmq-server")])
def test_who_may_not_install_is_told_what_to_ask_for(monkeypatch, service, package):
    monkeypatch.syspath_prepend(DEV_CLUSTER.parent)
    machine, module = (importlib.import_module(f"dev_cluster.{name}") for name in ("machine", service))
    monkeypatch.setattr(machine, "find_program", lambda name: None)
    monkeypatch.setattr(machine.os, "getuid", lambda: 1000)
    monkeypatch.setattr(machine.shutil, "which", lambda name, **_: None)
    with pytest.raises(machine.DevClusterError, match=f"root do: apt-get install --no-install-recommends {package}"):
        machine.install(module.PACKAGES)


def test_unknown_service_is_refused_and_the_known_are_named(tmp_path):
    done = MariaDBCluster(tmp_path).run("up", "oracle")
    assert (done.returncode, "no such service: oracle; known: mariadb, rabbitmq" in done.stderr) == (2, True)


def test_folder_with_blanks_is_refused(tmp_path):
    done = MariaDBCluster(tmp_path / "my cluster").run("up")
    assert (done.returncode, "without blanks" in done.stderr) == (2, True)


def test_without_a_name_status_and_exports_are_of_what_was_made_here(cluster):
    assert "no service has been made" in cluster.run("status").stderr
    cluster("up", "mariadb", "--empty")
    assert "rabbitmq" not in cluster("status")
    assert "PLAZA_ISPYB_URL" in cluster("env")


def test_exports_before_the_first_start_say_what_to_do(tmp_path):
    done = MariaDBCluster(tmp_path).run("env", "mariadb")
    assert (done.returncode, "dev-cluster up mariadb" in done.stderr) == (2, True)
