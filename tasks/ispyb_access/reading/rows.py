"""ISPyB's tables as the reader selects them, and their rows as JSON values."""

import math
from collections.abc import Iterable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from ispyb.sqlalchemy import Base
from sqlalchemy import ColumnElement, Enum, String, Table, type_coerce
from sqlalchemy.engine import RowMapping

TABLES = Base.metadata.tables
COLLECTION = TABLES["DataCollection"]
GROUP = TABLES["DataCollectionGroup"]
GRID = TABLES["GridInfo"]
SESSION = TABLES["BLSession"]
PROPOSAL = TABLES["Proposal"]
DETECTOR = TABLES["Detector"]
SAMPLE = TABLES["BLSample"]
CRYSTAL = TABLES["Crystal"]
PROTEIN = TABLES["Protein"]
CONTAINER = TABLES["Container"]
PIPELINE = TABLES["ProcessingPipeline"]
PLAN = TABLES["DiffractionPlan"]
ENERGY_SCAN = TABLES["EnergyScan"]
PDB = TABLES["PDB"]
PROTEIN_PDB = TABLES["Protein_has_PDB"]
SAMPLE_GROUP = TABLES["BLSampleGroup"]
GROUPED_SAMPLE = TABLES["BLSampleGroup_has_BLSample"]
EVENT = TABLES["Event"]
EVENT_TYPE = TABLES["EventType"]
EVENT_CHAIN = TABLES["EventChain"]
JOB = TABLES["ProcessingJob"]
JOB_PARAMETER = TABLES["ProcessingJobParameter"]
JOB_SWEEP = TABLES["ProcessingJobImageSweep"]


def labelled(table: Table, names: Iterable[str] | None = None) -> list[ColumnElement[Any]]:
    """Return columns of a table under labels that differ from those of all other tables.

    Enums are read as text: a value that isn't a member, such as the '' that a lenient server stores for one, would
    make the whole row unreadable.
    """
    columns = table.columns if names is None else [table.columns[name] for name in names]
    return [
        (type_coerce(column, String) if isinstance(column.type, Enum) else column).label(label(table, column.name))
        for column in columns
    ]


def label(table: Table, name: str) -> str:
    """Return the label of a column; without dots, which SQLite's driver would cut."""
    return f"{table.name}__{name}"


def cell(row: RowMapping, table: Table, name: str) -> Any:
    """Return a value of a row as a JSON value."""
    return json_value(row[label(table, name)])


def plain(row: RowMapping, table: Table) -> dict[str, Any]:
    """Return all of a table's columns in a row as JSON values."""
    return {name: cell(row, table, name) for name in table.columns.keys()}  # noqa: SIM118  # a collection of columns


def json_value(value: Any) -> Any:
    """Return what JSON has for a database value: dates in ISO form, bytes in hexadecimal, None for infinity.

    Texts come without NULs.
    """
    match value:
        case str():
            return without_nul(value)
        # ISPyB's DOUBLE columns are read as Decimal, on any database; JSON has none.
        case Decimal():
            return json_value(float(value)) if value.is_finite() else None
        case float() if not math.isfinite(value):
            return None
        case datetime() | date() | time():
            return value.isoformat()
        case bytes():
            return value.hex()
    return value


def without_nul(text: str | None) -> str | None:
    """Leave the NULs out of a text, which C strings of control systems bring along.

    No path and no command line may have one, and PostgreSQL, where Prefect keeps what it's told, takes none in JSON.
    """
    return None if text is None else text.replace("\0", "")
