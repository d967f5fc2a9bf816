"""Faults that can't pass: told at once, with the command, its ids and the column."""

import logging

import pytest
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from blocks.errors import ConfigurationError, MessageRefused
from blocks.ispyb_connection import open_engine, transaction
from blocks.sqlite_file import make_file
from flows.resources import SiteResources
from tasks.ispyb_access.writing.refusals import column_at_fault, named
from tasks.ispyb_connector.storing import store_in_ispyb
from tasks.step.runner import try_step
from tests.support.dev_mariadb import only_mariadb, only_sqlite

LONG = "x" * 300
MARIADB_FAULTS = {
    1048: ("INSERT INTO BLSession (proposalId, beamLineName) VALUES (NULL, 'i03')", "proposalId"),
    1062: ("INSERT INTO ProcessingPipeline (processingPipelineId, name, discipline) VALUES (6, 'x', 'MX')", None),
    1264: ("INSERT INTO ImageQualityIndicators (dataCollectionId, imageNumber) VALUES (1, 8388608)", "imageNumber"),
    1265: ("INSERT INTO AutoProcProgramAttachment (autoProcProgramId, fileType) VALUES (1, 'Film')", "fileType"),
    1364: ("INSERT INTO ImageQualityIndicators (dataCollectionId) VALUES (1)", "imageNumber"),
    1366: ("INSERT INTO AutoProcProgram (processingMessage) VALUES ('σ α')", "processingMessage"),
    1406: (f"INSERT INTO AutoProcProgram (processingMessage) VALUES ('{LONG}')", "processingMessage"),
    1452: (
        "INSERT INTO AutoProcProgramMessage (autoProcProgramId, severity) VALUES (4711, 'INFO')",
        "autoProcProgramId",
    ),
}
SQLITE_FAULTS = {
    "NOT NULL": ("INSERT INTO BLSession (proposalId, beamLineName) VALUES (NULL, 'i03')", "proposalId"),
    "UNIQUE": (
        "INSERT INTO ProcessingPipeline (processingPipelineId, name, discipline) VALUES (6, 'x', 'MX')",
        "processingPipelineId",
    ),
    "FOREIGN KEY": ("INSERT INTO AutoProcProgramMessage (autoProcProgramId, severity) VALUES (4711, 'INFO')", None),
}


class Parameters(BaseModel):
    dcid: int = 7
    program_id: int | None = None
    message: str = "secret"


def refusal_of(engine, statement):
    doing = named("do_something", Parameters(), "here")
    with pytest.raises(MessageRefused) as caught, transaction(engine) as connection, doing:
        connection.execute(text(statement))
    assert isinstance(caught.value.__cause__, DBAPIError)
    return str(caught.value), caught.value.__cause__


@only_mariadb
@pytest.mark.parametrize("code", MARIADB_FAULTS)
def test_server_refuses_a_value_and_the_column_is_named(code, engine, mariadb):
    """Though it is told to be lenient: see `STRICT` in blocks/ispyb_connection.py."""
    assert mariadb.execute("SELECT @@GLOBAL.sql_mode") == [""]
    statement, column = MARIADB_FAULTS[code]
    reason, error = refusal_of(engine, statement)
    assert (error.orig.args[0], column_at_fault(error)) == (code, column)
    assert reason.startswith("do_something (dcid 7): ISPyB refuses ")
    assert (column or "what it would write") in reason
    assert "secret" not in reason


@only_sqlite
@pytest.mark.parametrize("constraint", SQLITE_FAULTS)
def test_sqlite_refuses_a_value_and_the_column_is_named(constraint, engine):
    statement, column = SQLITE_FAULTS[constraint]
    reason, error = refusal_of(engine, statement)
    assert column_at_fault(error) == column
    assert f"{constraint} constraint failed" in reason


@pytest.fixture
def limited(mariadb, settings):
    """A user who may only read."""
    mariadb.execute(
        "CREATE OR REPLACE USER reader@'127.0.0.1' IDENTIFIED BY 'p'",
        "GRANT SELECT ON ispyb.* TO reader@'127.0.0.1'",
    )
    return mariadb.url.set(username="reader", password="p", database="ispyb")


REGISTER = {"ispyb_command": "register_processing", "program": "fast_dp"}
IMAGES = {"ispyb_command": "store_per_image_analysis_results", "dcid": 7}


async def refusals(settings, url, parameters, *payloads):
    changed = settings.model_copy(update={"ispyb_url": url.render_as_string(hide_password=False)})
    async with SiteResources(changed) as resources:
        outcome = await try_step(store_in_ispyb, {"parameters": parameters}, payloads, resources)
    assert outcome.sent == []
    return [(type(error), str(error)) for _, error in outcome.refused]


@only_mariadb
class TestAccess:
    async def test_without_the_right_to_write(self, settings, limited, caplog):
        caplog.set_level(logging.WARNING)
        ((kind, reason),) = await refusals(settings, limited, REGISTER, {"rpid": "12"})
        assert kind is ConfigurationError
        assert reason.startswith("register_processing (rpid 12): ISPyB at mysql+pymysql://reader:***@127.0.0.1")
        assert "INSERT command denied" in reason
        assert "grants" in reason
        assert "waiting" not in caplog.text

    async def test_images_without_the_right_to_write_are_tried_once(self, settings, limited, caplog):
        caplog.set_level(logging.INFO)
        images = [{"file-number": number, "n_spots_total": number} for number in range(1, 4)]
        found = await refusals(settings, limited, IMAGES, *images)
        assert [kind for kind, _ in found] == [ConfigurationError] * 3
        assert "dcid 7" in found[0][1]
        assert "each half" not in caplog.text

    @pytest.mark.parametrize(
        ("changes", "advice"), [({"password": "wrong"}, "password"), ({"database": "nowhere"}, "database name")]
    )
    async def test_without_the_right_to_come_in(self, changes, advice, settings, limited):
        ((kind, reason),) = await refusals(settings, limited.set(**changes), REGISTER, {})
        assert (kind, advice in reason, "wrong" in reason) == (ConfigurationError, True, False)


async def test_missing_column_is_named_and_nothing_is_tried_again(resources, engine):
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE AutoProcProgram RENAME COLUMN processingPrograms TO elsewhere"))
    try:
        outcome = await try_step(store_in_ispyb, {"parameters": REGISTER}, [{}], resources)
    finally:
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE AutoProcProgram RENAME COLUMN elsewhere TO processingPrograms"))
    ((_, error),) = outcome.refused
    assert isinstance(error, ConfigurationError)
    assert "lacks a column" in str(error)
    assert "processingPrograms" in str(error)


def test_database_without_tables_says_how_to_make_them(tmp_path):
    empty = open_engine(f"sqlite:///{tmp_path}/empty.sqlite")
    make_file(empty)
    doing = named("do_something", Parameters(), "here")
    wanted = pytest.raises(ConfigurationError, match=r"do_something \(dcid 7\): .*`plaza ispyb create`")
    with wanted, transaction(empty) as connection, doing:
        connection.execute(text("INSERT INTO DataCollection DEFAULT VALUES"))
    empty.dispose()
