"""ISPyB's tables on a database of our own: what SQLite needs beyond `ispyb.sqlalchemy`'s MySQL models.

The models are untouched. Compiler hooks translate what SQLite doesn't know; those for columns and indexes are scoped
to ISPyB's metadata, since a process may hold other tables in SQLite (Prefect's server does).
"""

import re
from typing import Any

from ispyb import sqlalchemy as models
from ispyb.sqlalchemy import Base
from sqlalchemy import Connection, Engine, MetaData, insert, select
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateColumn, CreateIndex

from blocks.errors import ConfigurationError
from blocks.ispyb_connection import safe_url, transaction
from blocks.sqlite_file import make_file
from tasks.ispyb_access.writing import ledger

METADATA: MetaData = Base.metadata
SCHEMA_VERSION: str = models.__schema_version__

PIPELINE_CATEGORIES = {1: "screening", 2: "processing", 3: "post processing"}

# id: (name, category). The ids are Zocalo's; 6 is the database's default of Container.priorityPipelineId.
PIPELINES = {
    3: ("Fast DP", 2),
    5: ("xia2/Multiplex", 2),
    6: ("xia2/DIALS", 2),
    7: ("xia2/XDS", 2),
    8: ("autoPROC", 2),
    9: ("Fast EP", 3),
    10: ("Dimple", 3),
    11: ("MrBUMP", 3),
    12: ("Big EP/XDS", 3),
    13: ("Big EP/DIALS", 3),
    14: ("autoPROC+STARANISO", 2),
    15: ("xia2/DIALS (multi)", 2),
    16: ("xia2/XDS (multi)", 2),
}


def create_schema(engine: Engine, *, on_server: bool = False) -> None:
    """Make the tables that are missing, the ledger's too, and fill the look-up tables; twice changes nothing.

    SQLite's file and its folder are made as well.

    Parameters
    ----------
    engine
        ISPyB.
    on_server
        Make tables on a database server too. It must be said, since a server's ISPyB is usually somebody else's.

    Raises
    ------
    ConfigurationError
        The database is on a server and `on_server` isn't set.
    """
    if engine.dialect.name != "sqlite" and not on_server:
        raise ConfigurationError(
            f"{safe_url(engine)} is a database server: tables are only made there when asked to (--on-server)"
        )
    if engine.dialect.name == "sqlite":
        make_file(engine)
    with transaction(engine) as connection:
        METADATA.create_all(connection)
        connection.execute(ledger.CREATE_TABLE)
        _fill(connection, "AdminVar", [{"varId": 1, "name": "schemaVersion", "value": SCHEMA_VERSION}])
        _fill(
            connection,
            "ProcessingPipelineCategory",
            [{"processingPipelineCategoryId": key, "name": name} for key, name in PIPELINE_CATEGORIES.items()],
        )
        _fill(
            connection,
            "ProcessingPipeline",
            [
                {
                    "processingPipelineId": key,
                    "processingPipelineCategoryId": category,
                    "name": name,
                    "discipline": "MX",
                    "pipelineStatus": "optional",
                }
                for key, (name, category) in PIPELINES.items()
            ],
        )


def _fill(connection: Connection, table_name: str, rows: list[dict[str, Any]]) -> None:
    table = METADATA.tables[table_name]
    (key,) = table.primary_key.columns
    present = set(connection.scalars(select(key)))
    missing = [row for row in rows if row[key.name] not in present]
    if missing:
        connection.execute(insert(table), missing)


@compiles(mysql.TINYINT, "sqlite")
@compiles(mysql.SMALLINT, "sqlite")
@compiles(mysql.MEDIUMINT, "sqlite")
def _integer(_type: Any, _compiler: Any, **_options: Any) -> str:
    return "INTEGER"  # exactly this word: else a primary key isn't numbered by SQLite


@compiles(mysql.MEDIUMTEXT, "sqlite")
@compiles(mysql.LONGTEXT, "sqlite")
def _text(_type: Any, _compiler: Any, **_options: Any) -> str:
    return "TEXT"


@compiles(mysql.LONGBLOB, "sqlite")
def _blob(_type: Any, _compiler: Any, **_options: Any) -> str:
    return "BLOB"


_DEFAULTS = (
    (re.compile(r"current_timestamp\(\)( ON UPDATE current_timestamp\(\))?", re.IGNORECASE), "CURRENT_TIMESTAMP"),
    (
        re.compile(r"current_user\(\)", re.IGNORECASE),
        "''",
    ),  # unknown to SQLite, which would only say so at the first INSERT
    (re.compile(r"'0000-00-00 00:00:00'"), "'1970-01-01 00:00:00'"),  # no date that Python could read
)


@compiles(CreateColumn, "sqlite")
def _create_column(element: CreateColumn, compiler: Any, **options: Any) -> str | None:
    text: str | None = compiler.visit_create_column(element, **options)
    if text is None or element.element.table.metadata is not METADATA:
        return text
    for pattern, replacement in _DEFAULTS:
        text = pattern.sub(replacement, text)
    return text


@compiles(CreateIndex, "sqlite")
def _create_index(element: CreateIndex, compiler: Any, **options: Any) -> str:
    index = element.element
    text: str = compiler.visit_create_index(element, **options)
    if index.table is None or index.table.metadata is not METADATA:
        return text
    # Index names are a table's own in MySQL but the whole database's in SQLite.
    plain = compiler.preparer.quote(index.name)
    unique = compiler.preparer.quote(f"{index.table.name}__{index.name}")
    return text.replace(f" {plain} ON ", f" {unique} ON ", 1)
