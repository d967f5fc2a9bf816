"""Which commands the stored procedures are used for, and what becomes of an ISPyB that has none or isn't there."""

import mysql.connector
import pytest
from ispyb import ConnectionError as NoConnection
from ispyb import ReadWriteError
from ispyb.sp.mxprocessing import MXProcessing
from sqlalchemy.exc import DBAPIError

from blocks.errors import ConfigurationError, DatabaseUnavailable
from blocks.ispyb_connection import open_engine
from blocks.settings import Settings
from tasks.ispyb_access.writing.commands import BUFFER_COMMANDS, COMMANDS
from tasks.ispyb_access.writing.procedures.calling import Procedures, filled
from tasks.ispyb_access.writing.procedures.coverage import NOT_COVERED, PROCEDURES
from tasks.ispyb_access.writing.procedures.procedure_writer import ProcedureWriter
from tasks.ispyb_access.writing.writer import SqlWriter, open_writer
from tests.support.ispyb_commands import carry_out

NOWHERE = "mysql+mysqlconnector://plaza:secret@127.0.0.1:1/ispyb"


def register(writer):
    return carry_out(writer, "register_processing", program="fast_dp")


def test_each_command_is_carried_out_or_refused_with_a_reason():
    assert PROCEDURES.keys() | NOT_COVERED.keys() == COMMANDS.keys() | BUFFER_COMMANDS.keys()
    assert not PROCEDURES.keys() & NOT_COVERED.keys()


@pytest.mark.parametrize(("kind", "writer"), [("sql", SqlWriter), ("procedures", ProcedureWriter)])
def test_the_site_chooses_its_writer(tmp_path, kind, writer):
    settings = Settings(home=tmp_path, ispyb_url=NOWHERE, ispyb_writer=kind)
    assert type(open_writer(settings, open_engine(NOWHERE))) is writer


def test_sqlite_has_no_procedures(tmp_path):
    with pytest.raises(ConfigurationError, match=r"no stored procedures: set PLAZA_ISPYB_WRITER.* to sql"):
        ProcedureWriter(open_engine(f"sqlite:///{tmp_path}/ispyb.sqlite"))


def test_what_can_not_be_promised_is_logged(caplog):
    with caplog.at_level("INFO"):
        ProcedureWriter(open_engine(NOWHERE))
    assert "at least once, not exactly once" in caplog.text
    assert "secret" not in caplog.text


def test_database_that_is_away_can_be_tried_again():
    with pytest.raises(DatabaseUnavailable, match=r"127\.0\.0\.1:1/ispyb can't be used now"):
        register(ProcedureWriter(open_engine(NOWHERE)))


def wrapped(error):
    """Return the API's error as it raises it: what the driver said is its context."""
    try:
        try:
            raise error
        except mysql.connector.Error as cause:
            raise ReadWriteError(f"DatabaseError({cause.errno})")  # noqa: B904
    except ReadWriteError as outer:
        return outer


@pytest.mark.parametrize(
    ("error", "code", "is_lost"),
    [
        (mysql.connector.InterfaceError(errno=2003), 2003, True),
        (wrapped(mysql.connector.DatabaseError(msg="Deadlock found", errno=1213)), 1213, True),
        (wrapped(mysql.connector.DataError(msg="Data too long for column 'x'", errno=1406)), 1406, False),
        (wrapped(mysql.connector.ProgrammingError(msg="denied", errno=1370)), 1370, False),
        (mysql.connector.errors.ReadTimeoutError(errno=3024), 3024, True),
        (NoConnection("Failed to ping connection"), None, True),
    ],
)
def test_a_fault_keeps_its_code_and_a_lost_connection_is_not_used_again(monkeypatch, error, code, is_lost):
    opened = []

    class Connector:
        def __init__(self, url):
            opened.append(url)

        def disconnect(self):
            opened.append("closed")

    monkeypatch.setattr("tasks.ispyb_access.writing.procedures.calling.Connector", Connector)
    procedures = Procedures(open_engine(NOWHERE).url)

    def fail(ispyb):
        raise error

    with pytest.raises(DBAPIError) as fault:
        procedures.call(fail)
    assert getattr(fault.value.orig, "errno", None) == code
    assert ("closed" in opened) == is_lost
    procedures.call(lambda ispyb: None)
    assert len([url for url in opened if url != "closed"]) == 1 + is_lost


def test_parameters_are_filled_in_by_name_however_it_is_spelt():
    template = MXProcessing.get_integration_params()
    values = filled(template, {"startImageNo": 5, "cell_a": None, "unknown": 1}, id=7)
    assert values == [7, *[None] * 3, 5, *[None] * 16, "0"]
