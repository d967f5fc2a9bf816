"""The ledger: a message that comes again after a crash is written once, and has the same answer."""

import itertools
import os
import signal
import subprocess
import sys

import pytest
from sqlalchemy import event, func, insert, inspect, select, text

from blocks.errors import DatabaseUnavailable, MessageRefused
from blocks.ispyb_connection import transaction
from tasks.ispyb_access.schema.tables import METADATA
from tasks.ispyb_access.writing.composite_commands import MULTIPART
from tasks.ispyb_access.writing.fulfilment import fulfil
from tasks.ispyb_access.writing.ledger import TABLE, has_ledger, write_once
from tasks.ispyb_access.writing.requests import Request
from tasks.ispyb_access.writing.writer import SqlWriter
from tasks.ispyb_connector.storing import store_in_ispyb
from tasks.step.runner import try_step
from tests.support.checkout import CHECKOUT
from tests.support.dev_mariadb import only_sqlite
from tests.support.interruptions import InterruptedRun

REGISTER = {"parameters": {"ispyb_command": "register_processing", "program": "fast_dp", "store_result": "program"}}


def count(engine, table):
    table = METADATA.tables.get(table, TABLE)
    with engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(table))


@pytest.mark.parametrize("kills", [*itertools.product(range(4), repeat=2), (0,) * 8])
async def test_each_program_is_registered_once_wherever_the_run_is_killed(kills, resources, engine):
    run = InterruptedRun(store_in_ispyb, REGISTER, [{}, {"program": "xia2 dials"}, {}], resources)
    for kill_at in kills:
        await run.process(kill_at)
    await run.process()
    assert (run.is_done, run.refused) == (True, [])
    numbers = [payload["result"] for _, payload in run.sent]
    assert len(set(numbers)) == count(engine, "AutoProcProgram") == count(engine, "plaza_ledger") == 3
    assert [environment["program"] for environment in run.environments] == numbers


@pytest.mark.parametrize("kills", [(0,), (1, 0), (2,), (0, 0, 1)])
async def test_image_results_need_no_entry(kills, resources, engine):
    node = {"parameters": {"ispyb_command": "store_per_image_analysis_results", "dcid": 7}}
    images = [{"file-number": number, "n_spots_total": number} for number in (1, 2, 3)]
    run = InterruptedRun(store_in_ispyb, node, [*images, "odd"], resources)
    for kill_at in kills:
        await run.process(kill_at)
    await run.process()
    assert (len(run.sent), run.refused) == (3, ["odd"])
    assert (count(engine, "ImageQualityIndicators"), count(engine, "plaza_ledger")) == (3, 0)


async def test_centring_that_found_nothing_is_written_once(resources, engine, add_collection):
    node = {"parameters": {"ispyb_command": "insert_xray_centring", "dcid": add_collection()}}
    run = InterruptedRun(store_in_ispyb, node, [{"type": "2d", "results": []}], resources)
    for _ in range(3):
        await run.process(kill_at=0)
    await run.process()
    assert count(engine, "XrayCentring") == 1


DYING_WRITER = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.support.interruptions import InterruptedRun
from blocks.settings import Settings
from tasks.ispyb_connector.storing import store_in_ispyb
from flows.resources import SiteResources

node = {"parameters": {"ispyb_command": "register_processing", "program": "fast_dp"}}
run = InterruptedRun(store_in_ispyb, node, [{}, {}], SiteResources(Settings(home=Path(sys.argv[1]))))
asyncio.run(run.process(look_on=lambda: os.kill(os.getpid(), signal.SIGKILL)))
"""


async def test_a_process_killed_after_the_commit_is_followed_by_one_that_knows(resources, engine):
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    environment["PLAZA_ISPYB_URL"] = engine.url.render_as_string(hide_password=False)
    for _ in range(2):
        died = subprocess.run(
            [sys.executable, "-c", DYING_WRITER, str(resources.settings.home)],
            env=environment,
            cwd=CHECKOUT,
            timeout=60,
        )
        assert died.returncode == -signal.SIGKILL
    assert count(engine, "AutoProcProgram") == 1
    run = InterruptedRun(store_in_ispyb, REGISTER, [{}, {}], resources)
    await run.process()
    assert count(engine, "AutoProcProgram") == len(run.sent) == 2


async def test_runs_by_hand_are_not_entered(resources, engine):
    for _ in range(2):
        await try_step(store_in_ispyb, REGISTER, [{}], resources)
    assert (count(engine, "AutoProcProgram"), count(engine, "plaza_ledger")) == (2, 0)


async def test_what_was_refused_is_not_entered(resources, engine):
    node = {"parameters": {"ispyb_command": "add_program_message", "severity": "INFO", "program_id": 4711}}
    run = InterruptedRun(store_in_ispyb, node, [{}], resources)
    await run.process()
    assert len(run.refused) == 1
    assert count(engine, "plaza_ledger") == 0


async def test_the_ledger_is_made_when_it_is_needed(resources, engine):
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE plaza_ledger"))
    assert has_ledger(resources.ispyb)
    assert inspect(engine).has_table("plaza_ledger")


@only_sqlite
async def test_without_leave_to_make_a_ledger_writing_goes_on_and_says_so_once(resources, engine, caplog):
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE plaza_ledger"))

    def forbid_tables(connection, _):
        connection.set_authorizer(lambda action, *_: 1 if action == 2 else 0)  # SQLITE_DENY, SQLITE_CREATE_TABLE

    event.listen(resources.ispyb, "connect", forbid_tables)
    run = InterruptedRun(store_in_ispyb, REGISTER, [{}, {}], resources)
    await run.process(kill_at=0)
    await run.process()
    assert (run.refused, len(run.sent)) == ([], 2)
    assert count(engine, "AutoProcProgram") == 3, "at least once: the first message was written by both processes"
    assert caplog.text.count("may be written twice") == 1


def test_an_entry_belongs_to_its_write(engine):
    has_ledger(engine)

    def break_off():
        with transaction(engine) as connection:
            write_once(connection, "run/1/x", lambda: 5)
            raise RuntimeError("at the end")

    with pytest.raises(RuntimeError, match="at the end"):
        break_off()
    with transaction(engine) as connection:
        assert write_once(connection, "run/1/x", lambda: {"id": [7, None, "é"]}) == {"id": [7, None, "é"]}
        assert write_once(connection, "run/1/x", lambda: pytest.fail("written twice")) == {"id": [7, None, "é"]}
        assert write_once(connection, "run/1/X", lambda: None) is None
        assert write_once(connection, "run/1/X", lambda: pytest.fail("written twice")) is None
        for key in ("r" * 200 + "/1", "r" * 200 + "/2"):
            assert write_once(connection, key, lambda key=key: key) == key


def test_an_entry_that_another_process_made_meanwhile_is_a_passing_fault(engine):
    has_ledger(engine)

    def write_beside_another():
        with transaction(engine) as connection:
            row = insert(TABLE).values(entry="run/1/x", answer="1", recordTimeStamp=func.now())
            write_once(connection, "run/1/x", lambda: connection.execute(row).rowcount)

    with pytest.raises(DatabaseUnavailable, match="another process"):
        write_beside_another()
    assert count(engine, "plaza_ledger") == 0


def test_an_answer_may_be_long(engine):
    """A list of commands may read the files of a thousand programs."""
    has_ledger(engine)
    answer = ["é" * 1000] * 500
    for write in (lambda: answer, lambda: pytest.fail("written twice")):
        with transaction(engine) as connection:
            assert write_once(connection, "run/1/x", write) == answer


def test_an_entry_of_other_commands_is_refused(engine):
    """What came of the message couldn't be said, nor may it be written a second time."""
    command = REGISTER["parameters"]
    one, two = (Request(MULTIPART, ({"ispyb_command_list": [command] * number},), {}) for number in (1, 2))
    assert fulfil(one, SqlWriter(engine), "run/1/list").values
    with pytest.raises(MessageRefused, match=r"step 2 of 2: register_processing: .* written before, but with other"):
        fulfil(two, SqlWriter(engine), "run/1/list")
    assert count(engine, "AutoProcProgram") == 1
