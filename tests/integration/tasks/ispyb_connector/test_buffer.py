"""Commands that wait for rows of other messages: they hold nobody up, and don't wait for ever."""

import asyncio
import time

import pytest
from sqlalchemy import select

from tasks.ispyb_access.schema.tables import METADATA
from tasks.ispyb_connector import storing as connector
from tasks.ispyb_connector.storing import store_in_ispyb
from tasks.step.runner import try_step
from tests.support.interruptions import InterruptedRun

NODE = {"parameters": {"ispyb_command": "buffer", "store_result": "row"}}
LIST = {"parameters": {"ispyb_command": "multipart_message"}}


@pytest.fixture(autouse=True)
def short_patience(monkeypatch):
    monkeypatch.setattr(connector, "ROW_PAUSE_S", 0.02)
    monkeypatch.setattr(connector, "ROW_PATIENCE_S", 0.2)


@pytest.fixture
async def program(resources):
    node = {"parameters": {"ispyb_command": "register_processing", "program": "relion"}}
    return (await try_step(store_in_ispyb, node, [{}], resources)).sent[0].payload["result"]


@pytest.fixture
def rows(engine):
    def rows(name):
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(select(METADATA.tables[name]))]

    return rows


@pytest.fixture
def messages(engine):
    """Return what programs have to say: (id of the message, program, text)."""
    table = METADATA.tables["AutoProcProgramMessage"].c
    columns = table.autoProcProgramMessageId, table.autoProcProgramId, table.message

    def messages():
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(select(*columns).order_by(columns[0]))]

    return messages


def register(program, uuid):
    """A command that gives others an id: that of a program, which stands here for any row."""
    return {
        "ispyb_command": "buffer",
        "program_id": program,
        "buffer_command": {"ispyb_command": "register_processing", "program": "ctffind"},
        "buffer_store": uuid,
    }


def tell(program, uuid, text="hello"):
    """A command that needs the id."""
    return {
        "ispyb_command": "buffer",
        "program_id": str(program),
        "buffer_lookup": {"program_id": uuid},
        "buffer_command": {"ispyb_command": "add_program_message", "severity": "INFO", "message": text},
    }


async def test_a_row_is_found_by_its_number(resources, program, rows, messages):
    outcome = await try_step(store_in_ispyb, NODE, [register(program, 12), tell(program, 12)], resources)
    first, second = (send.environment["row"] for send in outcome.sent)
    assert rows("zc_ZocaloBuffer") == [(program, 12, first)]
    assert messages() == [(second, first, "hello")]


async def test_a_number_given_again_is_that_of_the_new_row(resources, program, rows):
    outcome = await try_step(store_in_ispyb, NODE, [register(program, 12), register(program, 12)], resources)
    assert rows("zc_ZocaloBuffer") == [(program, 12, outcome.sent[1].payload["result"])]


async def test_numbers_are_a_programs_own(resources, program, messages):
    other = {"parameters": {"ispyb_command": "register_processing", "program": "other"}}
    other_program = (await try_step(store_in_ispyb, other, [{}], resources)).sent[0].payload["result"]
    outcome = await try_step(store_in_ispyb, NODE, [register(program, 12), tell(other_program, 12)], resources)
    assert (len(outcome.refused), messages()) == (1, [])


async def test_messages_that_come_in_the_wrong_order_find_their_parents(resources, program, messages):
    children = [tell(program, uuid, f"of {uuid}") for uuid in (3, 1, 2)]
    parents = [register(program, uuid) for uuid in (1, 2, 3)]
    outcome = await try_step(store_in_ispyb, NODE, [*children, *parents], resources)
    assert (outcome.refused, len(outcome.sent)) == ([], 6)
    assert sorted(text for _, _, text in messages()) == ["of 1", "of 2", "of 3"]


async def test_waiting_holds_up_no_other_message(resources, program, monkeypatch):
    monkeypatch.setattr(connector, "ROW_PAUSE_S", 30.0)
    monkeypatch.setattr(connector, "ROW_PATIENCE_S", 600.0)
    run = InterruptedRun(store_in_ispyb, NODE, [tell(program, 1), *[register(program, 2)] * 3], resources)
    working = asyncio.create_task(run.process())
    async with asyncio.timeout(60):
        while len(run.sent) < 3:
            await asyncio.sleep(0.01)
    assert (working.done(), run.refused) == (False, [])
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working


async def test_a_row_that_never_comes_refuses_the_message_after_its_time(resources, program, messages):
    began = time.monotonic()
    outcome = await try_step(store_in_ispyb, NODE, [tell(program, 99), register(program, 1)], resources)
    assert time.monotonic() - began >= 0.2
    ((message, error),) = outcome.refused
    assert message.payload == tell(program, 99)
    assert f"no row of program {program} is known by the number 99" in str(error)
    assert (len(outcome.sent), messages()) == (1, [])


async def test_a_list_waits_as_a_whole(resources, program, messages):
    tell_first = {"ispyb_command": "add_program_message", "program_id": program, "severity": "INFO", "message": "first"}
    lists = [
        {"ispyb_command_list": [tell_first, tell(program, 5, "second")]},
        {"ispyb_command_list": [register(program, 5)]},
    ]
    run = InterruptedRun(store_in_ispyb, LIST, lists, resources)
    for kill_at in (0, 0, 1):
        await run.process(kill_at)
    await run.process()
    assert (run.refused, [text for _, _, text in messages()]) == ([], ["first", "second"])


async def test_a_killed_run_writes_each_row_once(resources, program, rows, messages):
    run = InterruptedRun(store_in_ispyb, NODE, [tell(program, 7), register(program, 7)], resources)
    for kill_at in (0, 1, 0):
        await run.process(kill_at)
    await run.process()
    assert (run.is_done, run.refused) == (True, [])
    assert (len(rows("AutoProcProgram")), len(messages())) == (2, 1)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"program_id": None}, "program_id"),
        ({"program_id": "seven"}, "program_id"),
        ({"buffer_command": None}, "buffer_command"),
        ({"buffer_command": {"message": "x"}}, "expected the name of a command as ispyb_command, seen None"),
        ({"buffer_command": {"ispyb_command": "buffer"}}, "there is no ISPyB command 'buffer'"),
        ({"buffer_command": {"ispyb_command": "multipart_message"}}, "no ISPyB command 'multipart_message'"),
        ({"buffer_lookup": {"program_id": "a row"}}, "buffer_lookup"),
        ({"buffer_lookup": {"program_id": -1}}, "uuid"),
        ({"buffer_store": 2**32}, "uuid"),
        ({"program_id": 4711, "buffer_store": 1}, "ISPyB has no AutoProcProgram 4711"),
        ({"buffer_command": {"ispyb_command": "add_program_message", "severity": "LOUD"}}, "severity"),
        ({"buffer_command": {"ispyb_command": "retrieve_proposal_title", "visit": "mx1-1"}}, "no proposal mx1"),
        ({"buffer_command": {"ispyb_command": "retrieve_programs_for_job_id", "rpid": 1}}, "no ProcessingJob 1"),
    ],
)
async def test_what_is_wrong_is_said_and_nothing_is_written(changes, expected, resources, program, rows):
    outcome = await try_step(store_in_ispyb, NODE, [register(program, 1) | changes], resources)
    ((_, error),) = outcome.refused
    assert expected in str(error)
    assert (len(rows("AutoProcProgram")), rows("zc_ZocaloBuffer")) == (1, [])
