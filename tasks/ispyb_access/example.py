"""An example data collection: what recipes may know of one, read by the reader itself from an ISPyB in memory.

Every column that the reader reads has a value of its type: there's no list of names that could fall behind the code.
"""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from functools import cache
from typing import Any

from sqlalchemy import Column, Enum, Table, create_engine, insert

from tasks.ispyb_access import reader
from tasks.ispyb_access.parameters import DispatcherParameters
from tasks.ispyb_access.schema import METADATA

_OF_TYPE: dict[type, Any] = {
    int: 1,
    float: 1.0,
    Decimal: Decimal(1),
    str: "1",  # reads as text and as a number
    bytes: b"1",
    datetime: datetime(2026, 1, 1),
    date: date(2026, 1, 1),
    time: time(12),
}

DCID = 1  # and so are all other ids: the rows belong together

# What has to look like something, or is no example of anything
_VALUES: dict[Table, dict[str, Any]] = {
    reader.PROPOSAL: {"proposalCode": "cm", "proposalNumber": "12345"},
    reader.SESSION: {"visit_number": 1, "beamLineName": "i03"},
    reader.DETECTOR: {"detectorModel": "EIGER2 XE 16M"},
    reader.CRYSTAL: {"spaceGroup": "P1"},
    reader.SAMPLE: {"loopType": "multipin", "SMILES": "C"},
    reader.GROUP: {"experimentType": "Mesh"},
    reader.GRID: {},
    reader.CONTAINER: {},
    reader.PIPELINE: {"name": "xia2/DIALS"},
    reader.PLAN: {},
    reader.PROTEIN: {},
    reader.COLLECTION: {
        "imageDirectory": "/dls/i03/data/2026/cm12345-1/example/",
        "fileTemplate": "example_1_#####.cbf",
        "imagePrefix": "example",
        "dataCollectionNumber": 1,
        "numberOfImages": 100,
        "runStatus": "DataCollection Successful",
    },
}


@cache
def example_parameters() -> dict[str, Any]:
    """Return the dispatcher's `ispyb_…` parameters of an example data collection; don't change them.

    Those that such a collection doesn't have are there as empty texts.
    """
    engine = create_engine("sqlite://")
    try:
        with engine.begin() as connection:
            METADATA.create_all(connection, tables=list(_VALUES))
            for table, values in _VALUES.items():
                row = {column.name: _example(column) for column in table.columns} | values
                connection.execute(insert(table).values(row))
        collection = reader.read_data_collection(engine, DCID, "example")
    finally:
        engine.dispose()
    absent = {f"ispyb_{name}": "" for name in DispatcherParameters.model_fields}
    return absent | collection.recipe_parameters()


def _example(column: Column[Any]) -> Any:
    """Return a value that fits a column."""
    return column.type.enums[0] if isinstance(column.type, Enum) else _OF_TYPE[column.type.python_type]
