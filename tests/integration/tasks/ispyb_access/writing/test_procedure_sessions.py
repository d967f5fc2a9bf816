"""What the writer by procedures remembers of a message, where functions of ours stand for the procedures."""

import itertools

import pytest

from blocks.errors import DatabaseUnavailable, MessageRefused
from tasks.ispyb_access.writing.composite_commands import MULTIPART
from tasks.ispyb_access.writing.fulfilment import fulfil
from tasks.ispyb_access.writing.procedures import procedure_writer
from tasks.ispyb_access.writing.procedures.procedure_writer import ProcedureWriter
from tasks.ispyb_access.writing.requests import Request
from tests.support.dev_mariadb import only_mariadb
from tests.support.ispyb_commands import carry_out

pytestmark = only_mariadb

REGISTER = {"ispyb_command": "register_processing", "program": "fast_dp", "store_result": "program"}
TELL = {"ispyb_command": "add_program_message", "program_id": "$program", "severity": "INFO"}
LOOK = {"ispyb_command": "retrieve_program_attachments_for_program_id", "program_id": "$program"}
REQUEST = Request(MULTIPART, ({"ispyb_command_list": [REGISTER, LOOK, TELL]},), {})


class Procedures:
    """Calls what stands for a procedure at once."""

    def __init__(self, url):
        pass

    def call(self, work):
        return work(None)


@pytest.fixture
def called(monkeypatch):
    """The commands that procedures have carried out; each returns the next number."""
    called, numbers = [], itertools.count(1)

    def procedure(name):
        def carry_out(ispyb, parameters):
            called.append(name)
            return next(numbers)

        return carry_out

    monkeypatch.setattr(procedure_writer, "Procedures", Procedures)
    for name in (REGISTER["ispyb_command"], TELL["ispyb_command"], LOOK["ispyb_command"], "create_ispyb_job"):
        monkeypatch.setitem(procedure_writer.PROCEDURES, name, procedure(name))
    return called


def test_message_that_comes_again_repeats_what_may_be_repeated_only(engine, called):
    writer = ProcedureWriter(engine)
    assert fulfil(REQUEST, writer, "run/1/list").values == [1, 2, 3]
    assert fulfil(REQUEST, writer, "run/1/list").values == [1, 4, 3]
    assert called == [*(item["ispyb_command"] for item in (REGISTER, LOOK, TELL)), LOOK["ispyb_command"]]


@pytest.mark.parametrize("error", [MessageRefused("no such program"), DatabaseUnavailable("gone")])
def test_list_goes_on_where_it_was_left(engine, called, monkeypatch, error):
    def fail(ispyb, parameters):
        raise error

    writer = ProcedureWriter(engine)
    with monkeypatch.context() as patch:
        patch.setitem(procedure_writer.PROCEDURES, TELL["ispyb_command"], fail)
        with pytest.raises(type(error)) as fault:
            fulfil(REQUEST, writer, "run/1/list")
    if isinstance(error, MessageRefused):
        assert str(fault.value).startswith("step 3 of 3: add_program_message (program_id 1): no such program")
        assert str(fault.value).endswith("; the steps before it stay written")
    assert fulfil(REQUEST, writer, "run/1/list").values == [1, 3, 4]
    assert called.count(REGISTER["ispyb_command"]) == 1


def test_automatic_job_is_made_once_whoever_asks_for_it(engine, called):
    writer = ProcedureWriter(engine)
    job = {"DCID": 5, "source": "automatic"}
    assert {carry_out(writer, "create_ispyb_job", entry=entry, **job) for entry in ("a", "b", None)} == {1}


def test_without_a_name_or_a_ledger_all_is_written_again(engine, called, monkeypatch):
    writer = ProcedureWriter(engine)
    for _ in range(2):
        fulfil(REQUEST, writer, None)
    monkeypatch.setattr(procedure_writer, "has_ledger", lambda engine: False)
    for _ in range(2):
        fulfil(REQUEST, writer, "run/1/list")
    assert called.count(REGISTER["ispyb_command"]) == 4
