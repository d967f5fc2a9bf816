"""MySQL's zero and partial dates, and texts in SQLite that are none: no time, wherever one is read or compared."""

from datetime import datetime
from pathlib import PurePosixPath

import pytest
from ispyb import sqlalchemy as models
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from tasks.ispyb_access.overviews.collections import find_by_path
from tasks.ispyb_access.overviews.jobs import list_jobs, read_job
from tasks.ispyb_access.reading.reader import complete_parameters
from tasks.ispyb_access.writing.commands import COMMANDS

ZERO, PARTIAL = "0000-00-00 00:00:00", "2026-00-00 00:00:00"
NO_ZERO_DATES = "SET sql_mode = 'STRICT_TRANS_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE'"


@pytest.fixture
def damage(engine):
    """Write texts into a table's columns of times, as a lenient server does."""

    def damage(table, **values):
        changes = ", ".join(f"{name} = '{value}'" for name, value in values.items())
        with engine.connect() as connection:
            if engine.dialect.name == "mysql":
                connection.execute(text("SET sql_mode = ''"))
            connection.execute(text(f"UPDATE {table} SET {changes}"))
            connection.commit()
            connection.invalidate()  # or it would stay lenient

    return damage


@pytest.fixture
def job(run, add_collection):
    return run("create_ispyb_job", DCID=add_collection(), recipe="xia2")


@pytest.fixture
def program(run, job):
    return run("register_processing", program="xia2 dials", rpid=job)


@pytest.mark.parametrize("value", [ZERO, PARTIAL, "2026-05-00 12:00:00"])
class TestReading:
    def test_jobs_are_listed_and_shown_without_it(self, engine, job, program, damage, value):
        damage("ProcessingJob", recordTimestamp=value)
        damage("AutoProcProgram", processingStartTime=value, processingEndTime=value)
        assert [found.recorded for found in list_jobs(engine)] == [None]
        (shown,) = read_job(engine, job).programs
        assert (shown.started, shown.ended, shown.status) == (None, None, "queued")

    def test_parameters_of_recipes_have_none(self, engine, add_collection, damage, value):
        dcid = add_collection()
        damage("DataCollection", startTime=value, endTime=value)
        info = complete_parameters(engine, {"ispyb_dcid": dcid}, "guid-1").recipe_parameters()["ispyb_dc_info"]
        assert (info["startTime"], info["endTime"]) == (None, None)

    def test_collections_are_found(self, engine, add_collection, damage, value):
        dcid = add_collection(imageDirectory="/data/x/")
        damage("DataCollection", startTime=value)
        (found,) = find_by_path(engine, PurePosixPath("/data/x"))
        assert (found.dcid, found.start_time) == (dcid, None)

    def test_models_read_dates_and_times_of_day_alike(self, engine, facility, damage, value):
        damage("BLSession", startDate=value, lastUpdate=value)
        damage("Proposal", bltimeStamp=value)
        with Session(engine) as session:
            assert session.scalars(select(models.BLSession.startDate)).all() == [None]
            assert session.scalars(select(models.Proposal.bltimeStamp)).all() == [None]


def test_true_times_are_read_as_ever(engine, add_collection):
    dcid = add_collection(startTime=datetime(2024, 5, 1, 12, 30, 15))
    info = complete_parameters(engine, {"ispyb_dcid": dcid}, "guid-1").recipe_parameters()["ispyb_dc_info"]
    assert info["startTime"] == "2024-05-01T12:30:15"


def test_text_that_is_no_time_is_none(engine, add_collection, damage):
    """Of a lenient server a zero date, of SQLite the text."""
    dcid = add_collection()
    damage("DataCollection", startTime="yesterday")
    info = complete_parameters(engine, {"ispyb_dcid": dcid}, "guid-1").recipe_parameters()["ispyb_dc_info"]
    assert info["startTime"] is None


@pytest.mark.parametrize("value", [ZERO, PARTIAL])
class TestWriting:
    def write(self, engine, name, **values):
        """Carry out a command where a server refuses zero dates."""
        command = COMMANDS[name]
        with engine.connect() as connection:
            if engine.dialect.name == "mysql":
                connection.execute(text(NO_ZERO_DATES))
            command.write(connection, command.parameters.model_validate(values))
            connection.commit()

    def test_program_starts_when_it_is_first_heard_of(self, engine, program, damage, value, job):
        damage("AutoProcProgram", processingStartTime=value, processingEndTime=value, recordTimeStamp=value)
        times = {"start_time": "2024-05-01 12:00:00", "update_time": "2024-05-01 12:05:00"}
        self.write(engine, "update_processing_status", program_id=program, message="running", **times)
        (shown,) = read_job(engine, job).programs
        assert (shown.status, shown.message) == ("running", "running")
        assert (shown.started, shown.ended) == (datetime(2024, 5, 1, 12), datetime(2024, 5, 1, 12, 5))

    def test_program_ends(self, engine, program, damage, value, job):
        damage("AutoProcProgram", processingStartTime=value, processingEndTime=value)
        self.write(engine, "update_processing_status", program_id=program, status="success")
        (shown,) = read_job(engine, job).programs
        assert shown.status == "success"
        assert shown.started is not None

    def test_other_columns_are_changed(self, engine, job, damage, value, add_collection):
        dcid = add_collection()
        damage("ProcessingJob", recordTimestamp=value)
        damage("DataCollection", startTime=value)
        self.write(engine, "update_ispyb_job", job_id=job, comment="ice rings")
        self.write(engine, "upsert_data_collection_mx", dcid=dcid, xtal_snapshot1="/a.jpeg")
        assert read_job(engine, job).comment == "ice rings"

    def test_what_a_message_says_is_written_without_it(self, engine, program, value, job, add_collection):
        self.write(engine, "update_processing_status", program_id=program, status="success", update_time=value)
        self.write(engine, "upsert_data_collection_mx", dcid=add_collection(), start_time=value, comments="ice")
        (shown,) = read_job(engine, job).programs
        assert shown.status == "success"
        assert shown.ended is not None
