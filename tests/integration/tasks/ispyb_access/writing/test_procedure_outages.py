"""The writer by procedures, where the server freezes, dies, refuses us or has no procedures."""

import pytest
from sqlalchemy import Engine

from blocks.errors import ConfigurationError, DatabaseUnavailable
from blocks.ispyb_connection import open_engine
from tasks.ispyb_access.writing.commands import COMMANDS
from tasks.ispyb_access.writing.procedures.procedure_writer import ProcedureWriter
from tests.support.dev_mariadb import only_mariadb
from tests.support.ispyb_commands import carry_out

pytestmark = only_mariadb


@pytest.fixture
def writer(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tasks.ispyb_access.writing.procedures.calling.ANSWER_TIMEOUT_S", 1)
    monkeypatch.setattr("tasks.ispyb_access.writing.procedures.calling.CONNECT_TIMEOUT_S", 1)
    writer = ProcedureWriter(engine)
    yield writer
    writer.close()


def call(writer):
    """Call the procedure of a command, without the ledger, which SQL reaches."""
    values = {"program_id": 1, "severity": "INFO"}
    return writer.call("add_program_message", COMMANDS["add_program_message"].parameters.model_validate(values))


def test_database_without_the_procedures_is_told_at_once(writer):
    with pytest.raises(ConfigurationError, match=r"add_program_message \(program_id 1\): .*lacks a procedure.*=sql"):
        carry_out(writer, "add_program_message", program_id=1, severity="INFO")


def test_frozen_server_does_not_hang_the_writer(writer, mariadb):
    with pytest.raises(ConfigurationError):
        call(writer)
    with mariadb.frozen():
        for _ in range(2):  # on the connection that it had, then on a new one
            with pytest.raises(DatabaseUnavailable, match="tried again until it answers"):
                call(writer)
    with pytest.raises(ConfigurationError, match="lacks a procedure"):
        call(writer)


def test_server_that_was_killed_is_used_again_when_it_is_back(writer, mariadb):
    with pytest.raises(ConfigurationError):
        call(writer)
    mariadb.kill()
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            call(writer)
    mariadb.start()
    with pytest.raises(ConfigurationError, match="lacks a procedure"):
        call(writer)


@pytest.mark.parametrize(("changes", "expected"), [({"password": "wrong"}, "1045"), ({"database": "none"}, "104[49]")])
def test_refused_credentials_are_told_at_once(engine, changes, expected):
    writer = ProcedureWriter(open_engine(engine.url.set(**changes)))
    with pytest.raises(ConfigurationError, match=rf"refuses us: {expected}.*Check user"):
        call(writer)
