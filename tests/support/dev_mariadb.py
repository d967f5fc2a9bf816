"""A MariaDB server of the tests' own, run by deployments/dev-cluster."""

import subprocess
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import delete, text
from sqlalchemy.engine import URL, make_url

from blocks.ispyb_connection import open_engine
from tasks.ispyb_access.schema.tables import METADATA, PIPELINE_CATEGORIES, PIPELINES, create_schema
from tasks.ispyb_access.writing import ledger
from tests.support.dev_cluster import DevCluster, cluster_until_the_end, frozen, kill

# for tests that are about one of them
only_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
only_mariadb = pytest.mark.parametrize("database", [pytest.param("mariadb", marks=pytest.mark.mariadb)], indirect=True)

KEPT: dict[str, Collection[int]] = {
    "AdminVar": [1],
    "ProcessingPipeline": PIPELINES,
    "ProcessingPipelineCategory": PIPELINE_CATEGORIES,
}


class DevMariaDB:
    """A server that can be killed, frozen and started again."""

    def __init__(self, cluster: DevCluster) -> None:
        self.folder = cluster.folder
        self._cluster = cluster
        self.start()
        self.url = make_url(cluster.exports("mariadb")["PLAZA_ISPYB_URL"])

    def start(self) -> None:
        """Start it, if it doesn't run, on the files and the port that it had."""
        self._cluster("up", "mariadb", "--empty")

    def kill(self) -> None:
        """End it as a power cut would."""
        kill(self._cluster.process("mariadb"))

    def frozen(self) -> AbstractContextManager[None]:
        """Have it hang."""
        return frozen(self._cluster.process("mariadb"))

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


@contextmanager
def dev_mariadb(folder: Path) -> Iterator[DevMariaDB]:
    """Run a server, and see to it that it ends with the tests, even if those are killed."""
    with cluster_until_the_end(folder, "mariadb", "mariadbd") as cluster:
        yield DevMariaDB(cluster)


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
