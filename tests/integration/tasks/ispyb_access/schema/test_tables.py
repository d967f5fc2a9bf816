"""ISPyB's tables: they can be made, and each can be written and read."""

import itertools
import subprocess
import sys
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Enum,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    func,
    insert,
    inspect,
    select,
    text,
)
from typer.testing import CliRunner

from blocks.errors import ConfigurationError, DatabaseUnavailable
from blocks.ispyb_connection import open_engine, transaction
from flows.cli.ispyb.tables import app
from tasks.ispyb_access.schema.tables import METADATA, PIPELINES, create_schema
from tasks.ispyb_access.writing import ledger
from tests.support.dev_mariadb import only_sqlite


@only_sqlite
def test_all_tables_and_indexes_are_made(engine):
    tables = inspect(engine).get_table_names()
    assert set(tables) == {*METADATA.tables, ledger.TABLE.name}
    with engine.connect() as connection:
        made = set(connection.scalars(text("SELECT name FROM sqlite_master WHERE type = 'index'")))
    wanted = {f"{table.name}__{index.name}" for table in METADATA.tables.values() for index in table.indexes}
    assert wanted <= made


def test_making_the_tables_twice_changes_nothing(engine):
    create_schema(engine, on_server=True)
    with engine.connect() as connection:
        pipelines = dict(connection.execute(text("SELECT processingPipelineId, name FROM ProcessingPipeline")).all())
    assert pipelines == {key: name for key, (name, _) in PIPELINES.items()}
    assert pipelines[6] == "xia2/DIALS"


def _sample_values(table: Table, numbers: Any) -> dict[str, Any]:
    """Make a row of which only what must be given is given, and no foreign key that isn't."""
    values: dict[str, Any] = {}
    for c in table.columns:
        if c.computed is not None or c.nullable or c.server_default is not None:
            continue
        if c.primary_key and c is table.autoincrement_column:
            continue
        values[c.name] = _sample_value(c, next(numbers))
    return values


def _sample_value(c: Any, number: int) -> Any:
    if isinstance(c.type, Enum):
        return c.type.enums[0]
    kind = c.type.python_type
    if kind is datetime:
        return datetime(2024, 1, 2, 3, 4, 5)
    if kind is bytes:
        return b"\x01" * 16
    return str(number)[:2] if kind is str else kind(number % 100) if kind in (int, float) else None


def test_each_table_takes_a_row_and_gives_it_back(engine):
    numbers = itertools.count(1)
    faults = {}
    plain = create_engine(engine.url)  # without foreign keys: a row by itself, without those that it belongs to
    if plain.dialect.name != "sqlite":
        event.listen(plain, "begin", lambda connection: connection.exec_driver_sql("SET foreign_key_checks = 0"))
    for table in METADATA.sorted_tables:
        try:
            with plain.begin() as connection:
                before = connection.scalar(select(func.count()).select_from(table))
                connection.execute(insert(table).values(_sample_values(table, numbers)))
                assert len(connection.execute(select(table)).all()) == before + 1
        except Exception as error:
            faults[table.name] = str(error)
    plain.dispose()
    assert faults == {}


def test_foreign_keys_hold(engine):
    with pytest.raises(Exception, match="FOREIGN KEY"), engine.begin() as connection:
        connection.execute(insert(METADATA.tables["BLSession"]).values(proposalId=999))


def test_other_tables_of_the_process_keep_their_index_names_and_defaults(tmp_path):
    others = MetaData()
    table = Table(
        "flow_run",
        others,
        Column("id", Integer, primary_key=True),
        Column("name", String, server_default="'0000-00-00 00:00:00'"),
    )
    Index("ix_name", table.c.name)
    engine = create_engine(f"sqlite:///{tmp_path}/other.sqlite")
    others.create_all(engine)
    assert [index["name"] for index in inspect(engine).get_indexes("flow_run")] == ["ix_name"]
    assert "0000" in inspect(engine).get_columns("flow_run")[1]["default"]
    engine.dispose()


PREFECT_TABLES = """
from prefect.server.database.orm_models import Base
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

def ddl():
    tables = Base.metadata.sorted_tables
    elements = [CreateTable(table) for table in tables] + [CreateIndex(i) for table in tables for i in table.indexes]
    return [str(element.compile(dialect=sqlite.dialect())) for element in elements]

before = ddl()
import tasks.ispyb_access.schema.tables
assert ddl() == before
print(len(before))
"""


@pytest.mark.slow
def test_tables_of_prefects_server_are_made_as_ever():
    done = subprocess.run([sys.executable, "-c", PREFECT_TABLES], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 50


def test_tables_on_a_server_are_made_only_when_asked():
    with pytest.raises(ConfigurationError, match="on-server"):
        create_schema(open_engine("mysql://ispyb:secret@db.example/ispyb"))


@pytest.mark.parametrize("option", ["--ispyb", "--url"])
def test_the_command_makes_the_tables_and_says_where(option, tmp_path):
    result = CliRunner().invoke(app, ["create", option, f"sqlite:///{tmp_path}/new.sqlite"])
    assert result.exit_code == 0, result.output
    assert "205 tables" in result.output
    engine = open_engine(f"sqlite:///{tmp_path}/new.sqlite")
    with transaction(engine, read_only=True) as connection:
        assert connection.scalar(select(func.count()).select_from(METADATA.tables["ProcessingPipeline"])) == len(
            PIPELINES
        )
    engine.dispose()


def test_the_command_says_what_is_wrong_and_fails():
    result = CliRunner().invoke(app, ["create", "--ispyb", "mysql://ispyb:secret@127.0.0.1:1/ispyb", "--on-server"])
    assert isinstance(result.exception, DatabaseUnavailable)
    assert "127.0.0.1" in str(result.exception)
    assert "secret" not in str(result.exception)
