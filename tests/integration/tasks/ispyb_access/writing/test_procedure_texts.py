"""What the writer by procedures does where they can't hold a text, or change nothing; with procedures of our own."""

import pytest
from ispyb import sqlalchemy as models
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from blocks.errors import MessageRefused
from blocks.ispyb_connection import open_engine
from tasks.ispyb_access.writing.procedures.procedure_writer import ProcedureWriter
from tests.support.dev_mariadb import only_mariadb
from tests.support.ispyb_commands import carry_out

pytestmark = only_mariadb  # whose database is latin1

# With the names and lengths of ISPyB's; the parameters that the tests don't need are of no use here.
UPDATE_PROGRAM = """
CREATE OR REPLACE PROCEDURE upsert_processing_program_v2(
    INOUT p_id int unsigned, p_commandLine varchar(255), p_programs varchar(255), p_status int,
    p_updateMessage varchar(80), p_startTimestamp datetime, p_updateTimestamp datetime, p_environment varchar(255),
    p_processingJobId int unsigned, p_pipelineId int unsigned, p_recordTimestamp datetime)
UPDATE AutoProcProgram
SET processingStatus = p_status, processingMessage = p_updateMessage, processingEndTime = NOW(),
    processingPrograms = IFNULL(p_programs, processingPrograms)
WHERE autoProcProgramId = p_id AND processingStatus IS NULL
"""
PROCEDURE = "upsert_processing_program_v2"


@pytest.fixture
def program(engine):
    with Session(engine) as session:
        program = models.AutoProcProgram(processingPrograms="xia2 dials")
        session.add(program)
        session.commit()
        return program.autoProcProgramId


@pytest.fixture
def state(engine, program):
    """Return a program's name, status and message."""
    columns = models.AutoProcProgram.__table__.c
    wanted = select(columns.processingPrograms, columns.processingStatus, columns.processingMessage)

    def state():
        with engine.connect() as connection:
            return tuple(connection.execute(wanted.where(columns.autoProcProgramId == program)).one())

    return state


@pytest.fixture
def procedure(engine):
    with engine.begin() as connection:
        connection.execute(text(UPDATE_PROGRAM))
    yield
    with engine.begin() as connection:
        connection.execute(text(f"DROP PROCEDURE {PROCEDURE}"))


@pytest.fixture
def run(procedure, engine):
    writer = ProcedureWriter(engine)
    yield lambda name, **values: carry_out(writer, name, **values)
    writer.close()


def test_status_is_written_whatever_its_message(run, program, state, caplog):
    run("update_processing_status", program_id=program, status="failure", message="I/σ(I) too low beyond 3.2 Å")
    assert state() == ("xia2 dials", 0, "I/sigma(I) too low beyond 3.2 Å")
    assert f"p_updateMessage of procedure {PROCEDURE} holds characters of latin1 only" in caplog.text


@pytest.fixture
def wide_parameters(engine):
    """Have the procedure made where a database's default is utf8mb4, and only its tables are latin1."""
    with engine.begin() as connection:
        connection.execute(text("ALTER DATABASE CHARACTER SET utf8mb4"))
    yield
    with engine.begin() as connection:
        connection.execute(text("ALTER DATABASE CHARACTER SET latin1"))


@pytest.mark.usefixtures("wide_parameters")
class TestNarrowTables:
    def test_status_is_written_readably(self, run, program, state):
        run("update_processing_status", program_id=program, status="failure", message="I/σ(I)")
        assert state() == ("xia2 dials", 0, "I/sigma(I)")

    def test_name_is_refused(self, run, program):
        with pytest.raises(MessageRefused, match=r"expected characters of latin1, .* seen 'σ'"):
            run("update_program_name", program_id=program, program="xia2 σ")


def test_message_is_no_longer_than_its_parameter(run, program, state):
    run("update_processing_status", program_id=program, message="σ" * 80)
    assert state() == ("xia2 dials", None, ("sigma" * 80)[:80])


def test_name_is_refused(run, program, state):
    with pytest.raises(MessageRefused, match=rf"{PROCEDURE}: expected characters of latin1, .* seen 'σ' in xia2 σ"):
        run("update_program_name", program_id=program, program="xia2 σ")
    assert state()[0] == "xia2 dials"


def test_news_that_change_nothing_are_told_of(run, program, state, caplog):
    run("update_processing_status", program_id=program, status="success", message="done")
    assert caplog.messages == []
    run("update_processing_status", program_id=program, status="failure")
    assert state() == ("xia2 dials", 1, "done")
    (said,) = caplog.messages
    assert said.startswith(f"program {program}: failure is ignored, since it has ended already, at ")


def test_program_that_is_not_there_is_refused(run):
    with pytest.raises(MessageRefused, match="ISPyB has no AutoProcProgram 4711"):
        run("update_processing_status", program_id=4711, status="success")


def test_user_who_may_do_nothing_but_call_gives_way_too(procedure, engine, mariadb, program, state):
    """Of such a user programs can't be looked up; the procedure's parameters can."""
    ispyb = engine.url.database
    mariadb.execute(
        "CREATE OR REPLACE USER caller@'127.0.0.1' IDENTIFIED BY 'secret'",
        f"GRANT EXECUTE ON PROCEDURE {ispyb}.{PROCEDURE} TO caller@'127.0.0.1'",
    )
    caller = open_engine(engine.url.set(username="caller", password="secret"))
    writer = ProcedureWriter(caller)
    carry_out(writer, "update_processing_status", program_id=program, status="failure", message="σ")
    assert state() == ("xia2 dials", 0, "sigma")
    writer.close()
    caller.dispose()
    mariadb.execute("DROP USER caller@'127.0.0.1'")
