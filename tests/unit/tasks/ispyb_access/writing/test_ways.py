"""What commands need, joined; and the ways that are open to who has certain rights."""

import pytest

from tasks.ispyb_access.schema.tables import METADATA
from tasks.ispyb_access.writing import ways
from tasks.ispyb_access.writing.commands import COMMANDS
from tasks.ispyb_access.writing.grants.granted import Granted
from tasks.ispyb_access.writing.grants.needs import Needs, Right, changes, inserts, looks_up
from tasks.ispyb_access.writing.procedures.coverage import CALLS, LOOK_UPS, PROCEDURES, SOMETIMES, called
from tasks.ispyb_access.writing.ways import Lack, Way, Ways

JOB, PROGRAM = METADATA.tables["ProcessingJob"], METADATA.tables["AutoProcProgram"]
WRITER, READER = "writer", "reader"


@pytest.fixture
def open_ways(monkeypatch):
    """Return the ways of users with rights on tables; the writer may execute some procedures."""

    def open_ways(writer, reader=None, executable=()):
        users = {WRITER: writer, READER: reader or {}}
        granted = {
            user: Granted(f"{user}@%", "ispyb", {table.lower(): right for table, right in rights.items()})
            for user, rights in users.items()
        }
        monkeypatch.setattr(ways, "granted_to", granted.__getitem__)
        monkeypatch.setattr(
            ways, "not_executable", lambda _, names: tuple(name for name in names if name not in executable)
        )
        monkeypatch.setattr(
            ways,
            "grants_to_call",
            lambda _, names: tuple(f"GRANT EXECUTE ON {name}" for name in names if name not in executable),
        )
        monkeypatch.setattr(ways, "misfits", lambda *_: ())
        monkeypatch.setattr(ways, "inactive_roles", lambda _: ())
        return Ways(WRITER, None if reader is None else READER)

    return open_ways


def test_needs_are_joined():
    joined = inserts(JOB) | changes(JOB, PROGRAM) | looks_up(PROGRAM)
    everything = Right.SELECT | Right.INSERT | Right.UPDATE
    assert joined == Needs(
        {"ProcessingJob": everything, "AutoProcProgram": Right.SELECT | Right.UPDATE},
        frozenset({frozenset({"AutoProcProgram"})}),
    )
    assert str(everything) == "SELECT, INSERT, UPDATE"


ADD = inserts(JOB) | looks_up(PROGRAM)
UPSERTS = ("upsert_processing_job", "upsert_processing_job_parameter", "upsert_processing_job_image_sweep")


@pytest.mark.parametrize(
    ("writer", "reader", "executable", "expected"),
    [
        ({"ProcessingJob": Right.INSERT, "AutoProcProgram": Right.SELECT}, None, (), Way.SQL),
        ({"ProcessingJob": Right.INSERT}, {"AutoProcProgram": Right.SELECT}, UPSERTS, Way.SQL_AND_READER),
        ({"ProcessingJob": Right.INSERT}, None, UPSERTS, Way.PROCEDURES),
        ({}, {"AutoProcProgram": Right.SELECT}, UPSERTS, Way.PROCEDURES),
        ({}, {"AutoProcProgram": Right.SELECT, "ProcessingJob": Right.INSERT}, UPSERTS[:2], Way.FORBIDDEN),
        ({}, None, (), Way.FORBIDDEN),
    ],
)
def test_sql_comes_first_then_procedures(writer, reader, executable, expected, open_ways):
    assert open_ways(writer, reader, executable).find("create_ispyb_job", ADD) is expected


def test_what_is_lacking_is_told_as_statements(open_ways):
    lack = open_ways({"ProcessingJob": Right.SELECT}, {}, UPSERTS[1:]).lack("create_ispyb_job", ADD, "")
    assert lack == Lack(
        sql=(
            "GRANT INSERT ON `ispyb`.`ProcessingJob` TO 'writer'@'%'",
            "GRANT SELECT ON `ispyb`.`AutoProcProgram` TO 'reader'@'%'",
        ),
        procedures=("GRANT EXECUTE ON upsert_processing_job",),
        hints=(),
    )
    assert str(lack).startswith("Have its administrator do: GRANT INSERT ON")
    assert " -- or: GRANT EXECUTE" in str(lack)


def test_each_command_that_procedures_carry_out_names_those():
    assert PROCEDURES.keys() | LOOK_UPS.keys() == CALLS.keys()
    assert all(called(name) for name in CALLS)


def test_what_is_called_for_some_parameters_is_named_as_their_needs_are():
    """`plaza ispyb check` joins the two by these words; a kind that only procedures know has a row of its own."""
    alone = {
        (name, more.given)
        for name, some in SOMETIMES.items()
        for more in some
        if more.given not in {one.given for one in COMMANDS[name].sometimes}
    }
    assert alone == set()


def test_tables_that_one_statement_reads_are_for_one_user(open_ways):
    split = {"AutoProcProgram": Right.SELECT}, {"ProcessingJob": Right.SELECT}
    ways = open_ways(*split)
    assert ways.find("retrieve_programs_for_job_id", looks_up(JOB, PROGRAM)) is Way.FORBIDDEN
    assert ways.find("retrieve_programs_for_job_id", looks_up(JOB) | looks_up(PROGRAM)) is Way.SQL_AND_READER
    lack = ways.lack("retrieve_programs_for_job_id", looks_up(JOB, PROGRAM))
    assert lack.sql == ("GRANT SELECT ON `ispyb`.`AutoProcProgram` TO 'reader'@'%'",)


def test_each_command_declares_what_it_needs():
    assert [name for name, one in COMMANDS.items() if not (one.sometimes or one.needs.own or one.needs.looked_up)] == []
