"""deployments/dev-cluster: a database server for anybody, without systemd, that can be killed and started again."""

import os
import pwd
import re
import signal
import socket
import stat
import subprocess
from contextlib import suppress
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest
from sqlalchemy import text

from blocks.ispyb_connection import open_engine
from tests.support.dev_mariadb import DEV_CLUSTER

pytestmark = [pytest.mark.mariadb, pytest.mark.slow]


class DevCluster:
    """The script, on a folder of its own."""

    def __init__(self, folder: Path, **options) -> None:
        self.folder, self._options = folder, options

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PLAZA_DEV_CLUSTER": str(self.folder)}
        command = [DEV_CLUSTER, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, **self._options)

    def __call__(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    @property
    def url(self) -> str:
        return re.search(r"PLAZA_ISPYB_URL=(\S+)", self("env"))[1]

    @property
    def process(self) -> int:
        return int((self.folder / "mariadb" / "mariadbd.pid").read_text())

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
    cluster = DevCluster(tmp_path / "dev-cluster")
    yield cluster
    cluster("down", "--wipe")


def test_up_may_be_said_again_and_down_keeps_all(cluster):
    assert "mariadb up" in cluster("up", "--empty")
    process, url = cluster.process, cluster.url
    cluster.ask("CREATE TABLE mine (x INTEGER)")
    assert "mariadb up" in cluster("up", "mariadb", "--empty")
    assert cluster.process == process
    cluster("down")
    assert (cluster.run("status").returncode, cluster.run("status", "mariadb").returncode) == (1, 1)
    cluster("up", "--empty")
    assert cluster("status").startswith("dev-cluster: mariadb up")
    assert cluster.url == url
    assert cluster.ask("SELECT count(*) FROM mine") == 0


def test_only_we_can_read_the_password_and_others_cannot_come_in(cluster):
    cluster("up", "--empty")
    password = cluster.folder / "mariadb" / "password"
    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    assert password.read_text() in cluster.url
    assert password.read_text() not in Path(f"/proc/{cluster.process}/cmdline").read_text()
    for user in ("root", "plaza"):
        engine = open_engine(re.sub(r"//plaza:[^@]*@", f"//{user}:@", cluster.url))
        with pytest.raises(Exception, match="Access denied"), engine.connect():
            pass
        engine.dispose()


def test_killed_server_comes_back_with_what_was_committed(cluster):
    cluster("up", "--empty")
    cluster.ask("CREATE TABLE mine (x INTEGER) ENGINE=InnoDB")
    cluster.ask("INSERT INTO mine VALUES (1), (2)")
    os.kill(cluster.process, signal.SIGKILL)
    assert cluster.run("status").returncode == 1
    cluster("up", "--empty")
    assert cluster.ask("SELECT count(*) FROM mine") == 2


def test_frozen_server_is_not_up_and_can_be_ended(cluster):
    cluster("up", "--empty")
    process = cluster.process
    os.kill(process, signal.SIGSTOP)
    found = cluster.run("status")
    assert (found.returncode, "doesn't answer" in found.stderr) == (1, True)
    assert "mariadb down" in cluster("down")
    with suppress(FileNotFoundError):  # else a zombie
        assert Path(f"/proc/{process}/cmdline").read_bytes() == b""


def test_folders_have_servers_of_their_own(cluster, tmp_path):
    other = DevCluster(tmp_path / "other")
    try:
        cluster("up", "--empty")
        other("up", "--empty")
        assert len({cluster.url, other.url}) == len({cluster.process, other.process}) == 2
    finally:
        other("down", "--wipe")
    assert cluster.ask("SELECT 1") == 1


def test_port_that_another_program_has_taken_is_given_up(cluster):
    cluster("up", "--empty")
    cluster("down")
    port = int(re.search(r":(\d+)/", cluster.url)[1])
    with socket.create_server(("127.0.0.1", port)):
        assert f"port {port} has been taken" in cluster("up", "--empty")
        assert cluster.ask("SELECT 1") == 1


def test_server_is_lenient_unless_asked_to_be_strict(cluster):
    def mode():
        return cluster.ask("SELECT @@GLOBAL.sql_mode")

    cluster("up", "--empty")
    assert mode() == ""
    cluster("up", "--empty", "--strict")
    assert "STRICT_TRANS_TABLES" in mode()
    cluster("up", "--empty")
    assert mode() == ""


def test_tables_are_made(cluster):
    cluster("up")
    assert cluster.ask("SELECT name FROM ProcessingPipeline WHERE processingPipelineId = 6") == "xia2/DIALS"


def test_nothing_is_left_after_wiping(tmp_path):
    cluster = DevCluster(tmp_path / "mine")
    cluster("up", "--empty")
    in_memory = cluster.socket.parent
    assert in_memory.name.startswith(f"plaza-{os.getuid()}-")
    cluster("down", "--wipe")
    assert not (tmp_path / "mine" / "mariadb").exists()
    assert not in_memory.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_ordinary_user_can_run_it():
    nobody = pwd.getpwnam("nobody")
    folder = Path(subprocess.check_output(["mktemp", "--directory"], user=nobody.pw_uid, text=True).strip())
    cluster = DevCluster(folder, user=nobody.pw_uid, group=nobody.pw_gid)
    if subprocess.run([DEV_CLUSTER, "--help"], user=nobody.pw_uid, capture_output=True).returncode:
        pytest.skip(f"others can't read {DEV_CLUSTER}")
    try:
        cluster("up", "--empty")
        assert Path(f"/proc/{cluster.process}").stat().st_uid == nobody.pw_uid
    finally:
        cluster("down", "--wipe")
        subprocess.run(["rm", "-rf", folder], check=True)


def load_script():
    loader = SourceFileLoader("dev_cluster_script", str(DEV_CLUSTER))
    module = module_from_spec(spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def test_who_may_not_install_is_told_what_to_ask_for(monkeypatch):
    script = load_script()
    monkeypatch.setattr(script, "find_program", lambda name: None)
    monkeypatch.setattr(script.os, "getuid", lambda: 1000)
    monkeypatch.setattr(script.shutil, "which", lambda name, **_: None)
    with pytest.raises(script.DevClusterError, match="have root do: apt-get install --no-install-recommends mariadb-s"):
        script.install(script.MARIADB_PACKAGES)


def test_unknown_service_is_refused_and_the_known_are_named(tmp_path):
    done = DevCluster(tmp_path).run("up", "oracle")
    assert (done.returncode, "no such service: oracle; known: mariadb" in done.stderr) == (2, True)


def test_folder_with_blanks_is_refused(tmp_path):
    done = DevCluster(tmp_path / "my cluster").run("up")
    assert (done.returncode, "without blanks" in done.stderr) == (2, True)


def test_exports_before_the_first_start_say_what_to_do(tmp_path):
    done = DevCluster(tmp_path).run("env")
    assert (done.returncode, "dev-cluster up mariadb" in done.stderr) == (2, True)
