"""An example data collection: what recipes may know of one, read by the reader itself from an ISPyB in memory.

Every column that the reader reads has a value of its type: there's no list of names that could fall behind the code.
"""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from functools import cache
from typing import Any

from sqlalchemy import Column, Engine, Enum, Table, create_engine, delete, insert

from blocks.identifiers import Dcid, JobId
from tasks.ispyb_access.reading import reader, rows
from tasks.ispyb_access.reading.assembly import X_RAY_DETECTION
from tasks.ispyb_access.reading.energy_scan import HC_EV_A
from tasks.ispyb_access.reading.visit.files import FileAccess
from tasks.ispyb_access.schema.tables import METADATA

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

ID = 1  # of all rows: they belong together

# What has to look like something, or is no example of anything
_VALUES: dict[Table, dict[str, Any]] = {
    rows.PROPOSAL: {"proposalCode": "cm", "proposalNumber": "12345"},
    rows.SESSION: {"visit_number": 1, "beamLineName": "i03"},
    rows.DETECTOR: {"detectorModel": "EIGER2 XE 16M"},
    rows.CRYSTAL: {"spaceGroup": "P1"},
    rows.SAMPLE: {"loopType": "multipin", "SMILES": "C"},
    rows.GROUP: {"experimentType": "Mesh"},
    rows.GRID: {},
    rows.CONTAINER: {},
    rows.PIPELINE: {"name": "xia2/DIALS"},
    rows.PLAN: {},
    rows.PROTEIN: {},
    rows.ENERGY_SCAN: {"element": "Se", "peakEnergy": HC_EV_A, "inflectionEnergy": HC_EV_A - 1},
    rows.PDB: {"code": "1abc"},
    rows.PROTEIN_PDB: {},
    rows.SAMPLE_GROUP: {},
    rows.GROUPED_SAMPLE: {},
    rows.EVENT: {},
    rows.EVENT_TYPE: {"name": X_RAY_DETECTION},
    rows.EVENT_CHAIN: {},
    rows.JOB: {"recipe": "example"},
    rows.JOB_PARAMETER: {},
    rows.JOB_SWEEP: {},
    rows.COLLECTION: {
        "imageDirectory": "/dls/i03/data/2026/cm12345-1/example/",
        "fileTemplate": "example_1_#####.cbf",
        "imagePrefix": "example",
        "dataCollectionNumber": 1,
        "numberOfImages": 100,
        "overlap": 0.0,
        "wavelength": 1.0,
        "runStatus": "DataCollection Successful",
    },
}


@cache
def example_parameters() -> dict[str, Any]:
    """Return the dispatcher's `ispyb_…` parameters of an example; don't change them.

    It is a grid scan, for the sake of its grid, with what only rotations have, and what only a processing job has. A
    job's own parameters are empty: nobody knows their names.
    """
    engine = create_engine("sqlite://")
    try:
        with engine.begin() as connection:
            METADATA.create_all(connection, tables=list(_VALUES))
            for table, values in _VALUES.items():
                row = {column.name: _example(column) for column in table.columns} | values
                connection.execute(insert(table).values(row))
        grid = _read(engine)
        with engine.begin() as connection:
            connection.execute(delete(rows.GRID))
        rotation = _read(engine)
        job = reader.read_processing_job(engine, JobId(ID)).recipe_parameters()
    finally:
        engine.dispose()
    open_keys: dict[str, Any] = {"ispyb_processing_parameters": {}, "ispyb_reprocessing_parameters": {}}
    geometry = {"ispyb_reference_geometry": f"{grid['ispyb_visit_directory']}/processing/reference_geometry.expt"}
    return rotation | grid | job | open_keys | geometry


def _read(engine: Engine) -> dict[str, Any]:
    return reader.read_data_collection(engine, Dcid(ID), "example", FileAccess.NONE).recipe_parameters()


def _example(column: Column[Any]) -> Any:
    """Return a value that fits a column."""
    return column.type.enums[0] if isinstance(column.type, Enum) else _OF_TYPE[column.type.python_type]
