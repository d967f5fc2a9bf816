"""MariaDB, for ISPyB."""

from __future__ import annotations

import argparse
import getpass
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from .machine import (
    CHECKOUT,
    FOLDER,
    DevClusterError,
    find_program,
    install,
    is_running,
    port_in,
    private_folder,
    remembered,
    run,
    running,
    wait_for,
)

MEMORY = Path("/dev/shm")  # a database syncs many files, which takes ten times as long on a disk
PACKAGES = {"mariadb-server-core": "mariadbd", "mariadb-client-core": "mariadb"}  # they start no daemon
DATA_BYTES = 1 << 30
START_S = 60
MADE = "made-by-dev-cluster"  # a file that says that all others are there
STRICT_SQL_MODE = "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"


class MariaDB:
    """A server with a database `ispyb`, whose tables `up` makes, and a user `plaza` who owns it.

    Whoever runs the server is its administrator, through the socket and without a password.
    """

    def __init__(self) -> None:
        self.folder = FOLDER / "mariadb"
        self.config = self.folder / "my.cnf"
        self.pid_file = self.folder / "mariadbd.pid"
        self.port_file = self.folder / "port"
        self.log = self.folder / "mariadbd.log"

    def install(self) -> None:
        """Install what it needs."""
        install(PACKAGES)

    def up(self, options: argparse.Namespace) -> None:
        """Start it, and make what is missing in it."""
        if len(str(self.folder).split()) > 1:  # MariaDB's scripts don't quote
            raise DevClusterError(f"MariaDB wants a folder without blanks, not {self.folder}; set PLAZA_DEV_CLUSTER")
        self.install()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        sql_mode = STRICT_SQL_MODE if options.strict else ""
        if not wait_for(lambda: self.is_up() or not self.process(), START_S):
            raise DevClusterError("MariaDB runs but doesn't answer; deployments/dev-cluster down mariadb ends it")
        if self.process():
            self.administrate(f"SET GLOBAL sql_mode = '{sql_mode}'")
        else:
            self.configure(sql_mode)
            self.start()
        self.administrate(
            "CREATE DATABASE IF NOT EXISTS ispyb; CREATE USER IF NOT EXISTS plaza@'127.0.0.1';"
            f"ALTER USER plaza@'127.0.0.1' IDENTIFIED BY '{self.password}'; GRANT ALL ON ispyb.* TO plaza@'127.0.0.1';"
        )
        if not options.empty:
            run([str(CHECKOUT / "plaza"), "ispyb", "create", "--on-server"], environment=self.exports())

    def down(self, options: argparse.Namespace) -> None:
        """Stop it, and remove its files if that is wanted."""
        if pid := self.process():
            os.kill(pid, signal.SIGCONT)  # a frozen one can't end
            os.kill(pid, signal.SIGTERM)
            mark = str(self.config)  # not the file with the id, which goes before the process does
            if not wait_for(lambda: not is_running(pid, mark), 30):
                os.kill(pid, signal.SIGKILL)
                wait_for(lambda: not is_running(pid, mark), 10)
        if options.wipe and self.folder.exists():
            shutil.rmtree(self.data.resolve(), ignore_errors=True)
            shutil.rmtree(self.socket.parent, ignore_errors=True)
            shutil.rmtree(self.folder)

    def is_up(self) -> bool:
        """Tell whether the server runs and answers."""
        if not self.process():
            return False
        ask = [*self.client(), "--connect-timeout=2", "--execute=SELECT 1"]
        try:
            return subprocess.run(ask, capture_output=True, timeout=5).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def status(self) -> str:
        """Say in a line how it is."""
        pid = self.process()
        state = "up" if self.is_up() else "doesn't answer" if pid else "down"
        return f"mariadb {state}" + (f" (process {pid}, port {self.port_file.read_text()})" if pid else "")

    def exports(self) -> dict[str, str]:
        """Return the environment variables with which others find it."""
        if not self.port_file.exists():
            raise DevClusterError("there is no MariaDB yet; make it with: deployments/dev-cluster up mariadb")
        url = f"mysql+pymysql://plaza:{self.password}@127.0.0.1:{self.port_file.read_text()}/ispyb"
        return {"PLAZA_ISPYB_URL": url, "PLAZA_DEV_MARIADB_CONFIG": str(self.config)}

    # what follows is MariaDB's own

    @property
    def data(self) -> Path:
        """The server's files, or a link to them in memory."""
        return self.folder / "data"

    @property
    def socket(self) -> Path:
        """Where the administrator comes in: a short path, since 107 bytes are all that the system takes."""
        return private_folder(MEMORY if os.access(MEMORY, os.W_OK) else Path(tempfile.gettempdir())) / "mariadb.sock"

    @property
    def password(self) -> str:
        """The password of the user `plaza`."""
        return remembered(self.folder / "password", lambda: secrets.token_urlsafe(24))

    def process(self) -> int | None:
        """Return the server's process id if it runs."""
        return running(self.pid_file, str(self.config))

    def client(self) -> list[str]:
        """Begin a command line of MariaDB's client."""
        return [find_program("mariadb") or "mariadb", f"--defaults-file={self.config}"]

    def administrate(self, statements: str) -> None:
        """Execute SQL as the administrator; not from the command line, which everybody can read."""
        run(self.client(), stdin=statements)

    def configure(self, sql_mode: str) -> None:
        """Write the server's options."""
        port = port_in(self.port_file)
        (self.folder / "tmp").mkdir(exist_ok=True)
        me = getpass.getuser()
        self.config.write_text(
            "# Written by deployments/dev-cluster at each start.\n"
            "[mariadbd]\n"
            + (f"user={me}\n" if os.getuid() == 0 else "")
            + f"datadir={self.data}\nsocket={self.socket}\npid-file={self.pid_file}\nlog-error={self.log}\n"
            f"tmpdir={self.folder / 'tmp'}\nport={port}\nbind-address=127.0.0.1\n"
            "skip-name-resolve\n"
            f"sql_mode='{sql_mode}'\n"  # by default none, as at Diamond
            "character-set-server=latin1\n"  # as ISPyB's tables are
            "log_bin_trust_function_creators=ON\n"  # its procedures want it
            "innodb_buffer_pool_size=128M\ninnodb_log_file_size=64M\nmax_allowed_packet=64M\n"
            # what was committed survives the server's death, not the machine's
            "innodb_flush_log_at_trx_commit=2\ninnodb_flush_method=nosync\n"
            f"[client]\nuser={me}\nsocket={self.socket}\n"
        )

    def start(self) -> None:
        """Start the server, on new files if there are none (those in memory don't survive the machine's restart)."""
        if not (self.data / MADE).exists():
            self.make_data()
        with self.log.open("a") as log:
            server = subprocess.Popen(
                [find_program("mariadbd") or "mariadbd", f"--defaults-file={self.config}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        wait_for(lambda: server.poll() is not None or self.is_up(), START_S)
        if not self.is_up():
            lines = self.log.read_text(errors="replace").splitlines()[-15:]
            raise DevClusterError("\n".join(["MariaDB doesn't start; the end of its log:", *lines]))

    def make_data(self) -> None:
        """Make the server's files: where we are told to, else in memory if there is room, else in our folder."""
        if self.data.is_symlink():
            self.data.unlink()
        shutil.rmtree(self.data, ignore_errors=True)
        if folder := self.other_folder():
            folder.mkdir(mode=0o700, parents=True)
            self.data.symlink_to(folder)
        make = [find_program("mariadb-install-db") or "mariadb-install-db", f"--defaults-file={self.config}"]
        as_us = ["--auth-root-authentication-method=socket", f"--auth-root-socket-user={getpass.getuser()}"]
        run([*make, *as_us, "--skip-test-db"])
        (self.data / MADE).touch()

    def other_folder(self) -> Path | None:
        """Return where the server's files go if that isn't our folder: one that isn't there yet."""
        if elsewhere := os.environ.get("PLAZA_DEV_MARIADB_DATA"):
            return Path(elsewhere).absolute()
        if not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < DATA_BYTES:
            return None
        in_memory = private_folder(MEMORY) / "data"
        shutil.rmtree(in_memory, ignore_errors=True)
        return in_memory
