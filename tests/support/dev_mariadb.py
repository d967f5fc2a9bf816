"""A MariaDB server of the tests' own, run by deployments/dev-cluster."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import delete, text
from sqlalchemy.engine import URL, make_url

from blocks.ispyb_connection import open_engine
from tasks.ispyb_access.schema.tables import METADATA, PIPELINE_CATEGORIES, PIPELINES, create_schema
from tasks.ispyb_access.writing import ledger
from tests.support.checkout import CHECKOUT

# for tests that are about one of them
only_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
only_mariadb = pytest.mark.parametrize("database", [pytest.param("mariadb", marks=pytest.mark.mariadb)], indirect=True)

DEV_CLUSTER = CHECKOUT / "deployments" / "dev-cluster"
KEPT: dict[str, Collection[int]] = {
    "AdminVar": [1],
    "ProcessingPipeline": PIPELINES,
    "ProcessingPipelineCategory": PIPELINE_CATEGORIES,
}


class DevMariaDB:
    """A server that can be killed, frozen and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "PLAZA_DEV_CLUSTER": str(folder)}
        self.start()
        self.url = make_url(re.search(r"PLAZA_ISPYB_URL=(\S+)", self._dev_cluster("env"))[1])

    def start(self) -> None:
        """Start it, if it doesn't run, on the files and the port that it had."""
        self._dev_cluster("up", "mariadb", "--empty")

    def kill(self) -> None:
        """End it as a power cut would."""
        process = self._process()
        os.kill(process, signal.SIGKILL)
        while Path(f"/proc/{process}/cmdline").exists() and Path(f"/proc/{process}/cmdline").read_bytes():
            time.sleep(0.005)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Have it hang: it takes connections, or rather the system does, but doesn't answer."""
        process = self._process()
        os.kill(process, signal.SIGSTOP)
        try:
            while not _is_stopped(process):  # a thread that is at work may go on for a moment, and answer
                time.sleep(0.001)
            yield
        finally:
            os.kill(process, signal.SIGCONT)

    def execute(self, *statements: str) -> list[str]:
        """Execute SQL as the server's administrator, and return the rows."""
        client = ["mariadb", f"--defaults-file={self.folder / 'mariadb' / 'my.cnf'}", "--skip-column-names"]
        done = subprocess.run(client, input=";".join(statements), capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    def make_database(self, name: str, character_set: str = "latin1") -> URL:
        """Make a database with ISPyB's tables, in which texts are of a character set, and return its URL."""
        self.execute(
            f"CREATE DATABASE IF NOT EXISTS {name}",
            f"ALTER DATABASE {name} CHARACTER SET {character_set}",
            f"GRANT ALL ON {name}.* TO plaza@'127.0.0.1'",
        )
        url = self.url.set(database=name)
        engine = open_engine(url)
        create_schema(engine, on_server=True)
        engine.dispose()
        return url

    def _process(self) -> int:
        return int((self.folder / "mariadb" / "mariadbd.pid").read_text())

    def _dev_cluster(self, *arguments: str) -> str:
        done = subprocess.run([DEV_CLUSTER, *arguments], env=self.environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout


def _is_stopped(process: int) -> bool:
    """Tell whether all threads of a process are stopped."""
    try:
        stats = [file.read_text() for file in Path(f"/proc/{process}/task").glob("*/stat")]
    except OSError:  # of a thread that has just ended
        return False
    return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)


@contextmanager
def dev_mariadb(folder: Path) -> Iterator[DevMariaDB]:
    """Run a server, and see to it that it ends with the tests, even if those are killed."""
    if not shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin") and os.getuid() != 0:
        pytest.skip("MariaDB isn't installed; as root: deployments/dev-cluster up mariadb")
    environment = {**os.environ, "PLAZA_DEV_CLUSTER": str(folder)}
    # waits for the end of the tests, however that comes: then its standard input is closed
    cleaner = subprocess.Popen(
        ["sh", "-c", f"cat; exec '{DEV_CLUSTER}' down mariadb --wipe"],
        env=environment, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        yield DevMariaDB(folder)
    finally:
        cleaner.communicate(timeout=180)


def empty(url: URL) -> None:
    """Remove what tests wrote: much quicker than making the tables again (10 ms instead of a second)."""
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.execute(text("SET foreign_key_checks = 0, innodb_lock_wait_timeout = 5"))
        connection.execute(ledger.CREATE_TABLE)
        connection.execute(delete(ledger.TABLE))
        ask = " UNION ALL ".join(f"(SELECT '{name}' FROM `{name}` LIMIT 1)" for name in METADATA.tables)
        for name in connection.scalars(text(ask)).all():
            table = METADATA.tables[name]
            kept = table.primary_key.columns[0].in_(KEPT.get(name, ()))
            connection.execute(delete(table).where(~kept))
    engine.dispose()
