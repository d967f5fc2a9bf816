"""Lists of commands: all or nothing, once wherever a run is killed, results handed on from step to step."""

import pytest
from sqlalchemy import func, select

from blocks.errors import MessageRefused
from tasks.ispyb_access.schema.tables import METADATA
from tasks.ispyb_access.writing.composite_commands import MODELS, MULTIPART
from tasks.ispyb_access.writing.fulfilment import fulfil
from tasks.ispyb_access.writing.ledger import TABLE as LEDGER
from tasks.ispyb_access.writing.requests import Request
from tasks.ispyb_access.writing.writer import SqlWriter
from tasks.ispyb_connector.storing import store_in_ispyb
from tasks.step.runner import try_step
from tests.support.interruptions import InterruptedRun

NODE = {
    "parameters": {"ispyb_command": MULTIPART, "store_result": "last", "severity": "WARNING", "program": "recipe's"}
}
REGISTER = {"ispyb_command": "register_processing", "program": "xia2 dials", "store_result": "program"}
TELL = {"ispyb_command": "add_program_message", "program_id": "$program", "severity": "INFO", "message": "by $ID"}
START = {"ispyb_command": "update_processing_status", "program_id": "${program}", "message": "starting"}
UNKNOWN_PROGRAM = TELL | {"program_id": 4711}


def commands(*items, **more):
    return {"ispyb_command_list": list(items)} | more


@pytest.fixture
def rows(engine):
    """Return the rows of a table as dicts, in the order of their keys."""

    def rows(name):
        table = LEDGER if name == "ledger" else METADATA.tables[name]
        with engine.connect() as connection:
            return [dict(row) for row in connection.execute(select(table)).mappings()]

    return rows


@pytest.fixture
def count(engine):
    def count(*names):
        tables = [LEDGER if name == "ledger" else METADATA.tables[name] for name in names]
        with engine.connect() as connection:
            return [connection.scalar(select(func.count()).select_from(table)) for table in tables]

    return count


@pytest.mark.parametrize("kills", [(), (0,), (1,), (2, 0), (0, 0, 1, 0)])
async def test_a_list_is_written_once_wherever_the_run_is_killed(kills, resources, count):
    lists = [commands(REGISTER, TELL, START, TELL | {"message": f"list {number}"}) for number in range(3)]
    run = InterruptedRun(store_in_ispyb, NODE, lists, resources)
    for kill_at in kills:
        await run.process(kill_at)
    await run.process()
    assert (run.refused, len(run.sent)) == ([], 3)
    assert count("AutoProcProgram", "AutoProcProgramMessage", "ledger") == [3, 6, 3]
    assert len({environment["program"] for environment in run.environments}) == 3
    assert [payload["result"] for _, payload in run.sent] == [environment["last"] for environment in run.environments]


async def test_results_are_handed_on_within_the_list_and_to_later_steps(resources, rows):
    outcome = await try_step(store_in_ispyb, NODE, [commands(REGISTER, TELL, START)], resources, "run-7")
    (send,) = outcome.sent
    (program,) = rows("AutoProcProgram")
    (message,) = rows("AutoProcProgramMessage")
    number = program["autoProcProgramId"]
    assert (send.output, send.payload) == ("output", {"result": number})
    assert send.environment == {"ID": "run-7", "program": number, "last": number}
    assert (program["processingMessage"], message["message"]) == ("starting", "by run-7")


async def test_parameters_are_of_the_command_then_the_message_then_the_recipe(resources, rows):
    tell = {"ispyb_command": "add_program_message", "program_id": "$program"}
    payload = commands(
        {"ispyb_command": "register_processing", "store_result": "program"},
        tell | {"severity": "ERROR", "message": "command's"},
        tell,
        message="message's",
    )
    outcome = await try_step(store_in_ispyb, NODE, [payload], resources)
    assert outcome.refused == []
    told = [(row["severity"], row["message"]) for row in rows("AutoProcProgramMessage")]
    assert told == [("ERROR", "command's"), ("WARNING", "message's")]
    assert rows("AutoProcProgram")[0]["processingPrograms"] == "recipe's"


async def test_the_recipe_may_have_the_list_and_the_message_another_one(resources, count):
    node = {"parameters": NODE["parameters"] | commands(REGISTER)}
    payloads = [{}, "text", {"ispyb_command_list": None}, commands(REGISTER, REGISTER)]
    outcome = await try_step(store_in_ispyb, node, payloads, resources)
    assert (outcome.refused, count("AutoProcProgram")) == ([], [5])


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({}, "expects commands in ispyb_command_list.*seen none"),
        (commands(), "seen an empty list"),
        ({"ispyb_command_list": {"ispyb_command": "x"}}, "seen none"),
        (commands(REGISTER, {"ispyb_command": "make_coffee"}), "step 2 of 2: there is no ISPyB command 'make_coffee'"),
        (commands(REGISTER, {}), "step 2 of 2: expected the name of a command as ispyb_command, seen None"),
        (commands(REGISTER, "text"), "step 2 of 2: expected the name of a command"),
        (commands(REGISTER, {"ispyb_command": ["x"]}), "step 2 of 2: expected the name of a command"),
        (commands(REGISTER, commands(REGISTER, ispyb_command=MULTIPART)), "step 2 of 2: there is no ISPyB command"),
        (commands(REGISTER, TELL, UNKNOWN_PROGRAM), "step 3 of 3: add_program_message.*4711"),
        (commands(REGISTER, TELL | {"program_id": "$unheard-of"}), "step 2 of 2: add_program_message.*program_id"),
        (commands(REGISTER, TELL | {"severity": "LOUD"}), "step 2 of 2: add_program_message.*severity.*LOUD"),
        (commands(REGISTER, {"ispyb_command": "add_program_attachment", "program_id": "$program",
                             "file_name": "x", "file_path": "/nowhere"}), "step 2 of 2: add_program_attachment.*/x"),
        (commands(TELL | {"program_id": 10**30}), "step 1 of 1: add_program_message"),
    ],
)  # fmt: skip
async def test_a_list_that_fails_anywhere_is_refused_and_nothing_of_it_is_written(payload, expected, resources, count):
    run = InterruptedRun(store_in_ispyb, NODE, [payload, commands(REGISTER)], resources)
    await run.process()
    assert run.refused == [payload]
    assert count("AutoProcProgram", "AutoProcProgramMessage", "ledger") == [1, 0, 1]
    outcome = await try_step(store_in_ispyb, NODE, [payload], resources)
    ((_, error),) = outcome.refused
    assert isinstance(error, MessageRefused)
    with pytest.raises(MessageRefused, match=expected):
        raise error


async def test_the_rest_of_a_list_that_zocalo_had_begun_is_accepted(resources, rows):
    """As its connector sends it to itself; a message from a broker's queue may be one."""
    program = await try_step(store_in_ispyb, NODE, [commands(REGISTER)], resources)
    number = program.sent[0].payload["result"]
    tell = TELL | {"program_id": number}
    payload = commands(tell, checkpoint=2, step_message={"started": 1.5})
    outcome = await try_step(store_in_ispyb, NODE, [payload], resources)
    assert (outcome.refused, len(rows("AutoProcProgramMessage"))) == ([], 1)

    broken = await try_step(store_in_ispyb, NODE, [payload | commands(tell, UNKNOWN_PROGRAM)], resources)
    assert str(broken.refused[0][1]).startswith("step 4 of 4: add_program_message")


def test_a_list_written_before_gives_the_same_outcome_again(engine, count, add_collection):
    invoke = {"ispyb_command": "create_ispyb_job", "DCID": add_collection(), "recipe": "xia2-dials"}
    items = commands(REGISTER, invoke | {"store_result": "job"}, TELL)
    request = Request(MULTIPART, (items,), {}, "last")
    first, again = (fulfil(request, SqlWriter(engine), "run/1") for _ in range(2))
    assert first == again
    assert first.values == [first.stored["program"], first.stored["job"], first.stored["last"]]
    assert [announcement.output for announcement in first.announcements] == ["held"]
    assert count("AutoProcProgram", "ProcessingJob", "AutoProcProgramMessage") == [1, 1, 1]


def test_all_commands_may_be_named_in_recipes():
    assert {MULTIPART, "buffer", "create_ispyb_job", "retrieve_proposal_title"} <= set(MODELS)
    assert "find_reference" not in MODELS
