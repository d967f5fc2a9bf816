"""SQLite holds any value in any column: rows are read all the same, at once, as far as they make sense."""

import json
import time
from contextlib import suppress

import pytest
from ispyb import sqlalchemy as models
from sqlalchemy.orm import Session

from flows.mimas.rules import decide
from flows.mimas.scenario import Event
from flows.mimas.scenarios.ispyb_scenario import scenario_from_ispyb
from tasks.ispyb_access.overviews.collections import UnknownBeamline, latest_collections
from tasks.ispyb_access.overviews.jobs import list_jobs, read_job
from tasks.ispyb_access.reading.reader import read_data_collection, read_processing_job
from tasks.ispyb_access.reading.visit.files import FileAccess
from tests.support.dev_mariadb import only_sqlite

pytestmark = only_sqlite  # a server keeps to its columns' types

VALUES = {
    "text": "'many'",
    "digits": "'١٢'",
    "long": "printf('%.*c', 50000, 'x')",
    "huge number": "1e300",
    "infinite": "9e999",
    "64 bits": "9223372036854775807",
    "negative": "-9223372036854775807",
    "32 bits": "2147483647",
    "blob": "x'00ff1b5b33316d'",
    "not UTF-8": "CAST(x'fffe41' AS TEXT)",
    "NUL": "'a' || char(0) || 'b'",
    "escape": "char(27) || '[31m' || char(10)",
    "climbs": "'/../../../etc/'",
    "root": "'/etc/passwd'",
    "hashes": "printf('%.*c', 50000, '#') || 'a#'",
    "empty": "''",
    "null": "NULL",
}
TABLES = (
    *(models.DataCollection, models.DataCollectionGroup, models.BLSession, models.Proposal, models.Detector),
    *(models.BLSample, models.Crystal, models.Protein, models.Container, models.DiffractionPlan, models.GridInfo),
    *(models.ProcessingJob, models.ProcessingJobParameter, models.ProcessingJobImageSweep),
)


@pytest.fixture
def job(engine, add_collection):
    with Session(engine) as session:
        dcid = add_collection()
        session.add(models.GridInfo(dataCollectionId=dcid, steps_x=2, steps_y=3))
        session.add(job := models.ProcessingJob(dataCollectionId=dcid, recipe="xia2"))
        session.flush()
        session.add(models.ProcessingJobParameter(processingJobId=job.processingJobId, parameterKey="a"))
        session.add(
            models.ProcessingJobImageSweep(
                processingJobId=job.processingJobId, dataCollectionId=dcid, startImage=1, endImage=9
            )
        )
        session.commit()
        return dcid, job.processingJobId


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_any_value_in_any_column_is_read(engine, job, value):
    begin = time.monotonic()
    for tables in ([models.DataCollection], TABLES):
        with engine.begin() as connection:
            for table in (model.__table__ for model in tables):
                changes = ", ".join(f"{column} = {value}" for column in _ordinary_columns(table))
                connection.exec_driver_sql(f"UPDATE OR IGNORE {table} SET {changes}")
        _read(engine, *job)
    assert time.monotonic() - begin < 60  # no value makes anything long


def _ordinary_columns(table):
    return [
        column.name
        for column in table.columns
        if not column.primary_key and not column.foreign_keys and not column.name.lower().endswith("id")
    ]


def _read(engine, dcid, job_id):
    collection = read_data_collection(engine, dcid, "guid-1", FileAccess.NONE)
    json.dumps(collection.model_dump(), allow_nan=False)
    beamline = collection.beamline or "i03"
    scenario, _ = scenario_from_ispyb(collection.model_copy(update={"beamline": beamline}), Event.END)
    decide(scenario)
    for name in ("working_directory", "results_directory", "final_directory"):
        folder, visit = getattr(collection, name), collection.visit_directory
        assert folder is None or folder.startswith(visit.rstrip("/") + "/")
    json.dumps(read_processing_job(engine, job_id).model_dump(), allow_nan=False)
    list_jobs(engine)
    read_job(engine, job_id)
    with suppress(UnknownBeamline):  # its name may be read as another one, or as none
        latest_collections(engine, collection.beamline or "i03", 5)
