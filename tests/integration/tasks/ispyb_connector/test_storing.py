"""The store step: batches, results for later steps, refusals, and a database that goes away."""

import asyncio
import logging
import math
import re
import sqlite3

import pytest
from sqlalchemy import event, text

from blocks.errors import MessageRefused, NodeRefused
from flows.resources import SiteResources
from tasks.ispyb_access.overviews.results import read_written_rows
from tasks.ispyb_access.writing.parameters import look_up
from tasks.ispyb_connector import image_batches
from tasks.ispyb_connector.storing import store_in_ispyb
from tasks.step.registry import load_step
from tasks.step.runner import try_step
from tests.support.dev_mariadb import only_mariadb, only_sqlite
from tests.support.running_step import RunningStep, until

PIA = {"ispyb_command": "store_per_image_analysis_results", "dcid": 7}


def payload(number, **values):
    return {"file-number": number, "n_spots_total": 10 * number, "estimated_d_min": 2.0} | values


@pytest.fixture
def transactions(resources):
    """Count how many transactions wrote."""
    begun = []
    event.listen(resources.ispyb, "commit", begun.append)
    return begun


def stored(engine, dcid=7):
    return list(read_written_rows(engine, dcid).image_quality.image_number)


@pytest.mark.parametrize("queue", ["ispyb_connector", "ispyb_pia"])
async def test_both_queues_are_served(queue, resources, engine):
    outcome = await try_step(load_step(queue), {"parameters": PIA}, [payload(1)], resources)
    assert [(send.output, send.payload) for send in outcome.sent] == [("output", {"result": 1})]
    assert stored(engine) == [1]


async def test_many_images_are_few_transactions_and_all_are_stored(resources, engine, transactions):
    images = [payload(number) for number in range(1, 1201)]
    outcome = await try_step(store_in_ispyb, {"parameters": PIA}, images, resources)
    assert stored(engine) == list(range(1, 1201))
    assert len(transactions) == 3
    assert len(outcome.sent) == 1200


async def test_slow_images_are_stored_while_more_are_awaited(resources, engine, monkeypatch):
    monkeypatch.setattr(image_batches, "BATCH_PATIENCE_S", 0.05)
    step = RunningStep(store_in_ispyb, PIA, resources)
    for number in (1, 2):
        step.put(payload(number))
        await until(lambda number=number: stored(engine) == list(range(1, number + 1)))
    await until(lambda: step.progress[-1:] == [(2, None)])  # said when the rows are there
    await step.end()
    assert len(step.sent) == 2


async def test_image_that_lacks_something_is_refused_and_the_others_are_stored(resources, engine):
    images = [payload(1), {"file-number": 2}, "nonsense", payload(4)]
    outcome = await try_step(store_in_ispyb, {"parameters": PIA}, images, resources)
    assert stored(engine) == [1, 4]
    assert [message.payload for message, _ in outcome.refused] == [{"file-number": 2}, "nonsense"]
    assert "n_spots_total" in str(outcome.refused[0][1])


REJECT_IMAGE_2 = {
    "sqlite": "WHEN NEW.imageNumber = 2 BEGIN SELECT RAISE(ABORT, 'not this one'); END",
    "mysql": "FOR EACH ROW IF NEW.imageNumber = 2 THEN "
    "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this one'; END IF",
}


@pytest.fixture
def picky_table(engine):
    with engine.begin() as connection:
        connection.execute(
            text(f"CREATE TRIGGER picky BEFORE INSERT ON ImageQualityIndicators {REJECT_IMAGE_2[engine.dialect.name]}")
        )
    yield
    with engine.begin() as connection:
        connection.execute(text("DROP TRIGGER picky"))


@pytest.mark.usefixtures("picky_table")
async def test_row_that_the_database_rejects_spoils_no_other(resources, engine, caplog):
    outcome = await try_step(store_in_ispyb, {"parameters": PIA}, [payload(n) for n in (1, 2, 3)], resources)
    assert stored(engine) == [1, 3]
    ((message, error),) = outcome.refused
    assert message.payload["file-number"] == 2
    assert "not this one" in str(error)
    assert "store_per_image_analysis_results (dcid 7, file_number 2)" in str(error)
    assert "Traceback" not in caplog.text


@pytest.fixture
def known_collections_only(engine):
    """Have the database refuse results of unknown data collections, as that of a site may."""
    key = "FOREIGN KEY (dataCollectionId) REFERENCES DataCollection (dataCollectionId)"
    with engine.begin() as connection:
        connection.execute(text(f"ALTER TABLE ImageQualityIndicators ADD CONSTRAINT known {key}"))
    yield
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE ImageQualityIndicators DROP FOREIGN KEY known"))


@only_mariadb
@pytest.mark.usefixtures("known_collections_only")
async def test_unknown_collection_of_the_node_has_one_letter_for_all_images(resources, engine, transactions):
    images = [payload(number) for number in range(1, 1201)]
    outcome = await try_step(store_in_ispyb, {"parameters": PIA | {"dcid": 4711}}, images, resources)
    ((message, error),) = outcome.refused
    assert isinstance(error, NodeRefused)
    assert re.search(r"\(dcid 4711, file_number 1\).* value for column dataCollectionId", str(error))
    assert (message.payload, len(outcome.undone)) == (images[0], 1199)
    assert (stored(engine, 4711), transactions) == ([], [])


@only_mariadb
@pytest.mark.usefixtures("known_collections_only")
async def test_unknown_collection_of_a_message_spoils_no_other(resources, engine, add_collection):
    dcid = add_collection()
    images = [payload(1), payload(2, dcid=4711), payload(3), payload(4, dcid=4712)]
    outcome = await try_step(store_in_ispyb, {"parameters": PIA | {"dcid": dcid}}, images, resources)
    assert [message.payload for message, _ in outcome.refused] == [images[1], images[3]]
    assert stored(engine, dcid) == [1, 3]


@only_sqlite
@pytest.mark.parametrize("dcid", [9_999_999_999, "None!", 0, -1])
async def test_what_is_no_collection_of_the_node_has_one_letter_for_all_images(dcid, resources, engine):
    images = [payload(number) for number in range(1, 31)] + [payload(31, DCID=7), payload(32, dcid="x")]
    outcome = await try_step(store_in_ispyb, {"parameters": PIA | {"dcid": dcid}}, images, resources)
    assert [message.payload for message, _ in outcome.refused] == [images[0], images[31]]
    assert [isinstance(error, NodeRefused) for _, error in outcome.refused] == [True, False]
    assert (len(outcome.undone), stored(engine)) == (29, [31])


@only_sqlite
async def test_figure_that_is_no_number_is_told_of_once(resources, add_collection, caplog):
    command = {"ispyb_command": "upsert_integration", "dcid": add_collection()}
    outcome = await try_step(store_in_ispyb, {"parameters": command}, [{"cell_a": math.nan}], resources)
    assert outcome.refused == []
    assert caplog.text.count("cell_a: nan is no number") == 1


@only_sqlite
async def test_nothing_is_lost_while_the_database_is_away(resources, engine, caplog, monkeypatch):
    """A writer that holds the database makes it answer "locked": then it is let go."""
    caplog.set_level(logging.INFO, "tasks")
    monkeypatch.setattr(image_batches, "BATCH_PATIENCE_S", 0.01)
    event.listen(resources.ispyb, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout=10").close())
    blocker = sqlite3.connect(resources.ispyb.url.database, isolation_level=None, check_same_thread=False)
    blocker.execute("BEGIN IMMEDIATE")
    step = RunningStep(store_in_ispyb, PIA, resources)
    step.put(payload(1), payload(2))
    await until(lambda: "waiting for ISPyB" in caplog.text)
    step.put(payload(3))
    assert step.sent == []
    blocker.execute("ROLLBACK")
    blocker.close()
    await until(lambda: stored(engine) == [1, 2, 3])
    await step.end()
    assert step.refused == []
    assert caplog.text.count("waiting for ISPyB") == 1
    assert "answers again" in caplog.text


async def test_cancelled_step_ends_though_the_database_is_away(resources, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "tasks")
    broken = SiteResources(resources.settings.model_copy(update={"ispyb_url": "mysql://u:secret@127.0.0.1:1/ispyb"}))
    step = RunningStep(store_in_ispyb, PIA, broken)
    step.put(payload(1))
    await until(lambda: "waiting for ISPyB" in caplog.text)
    step.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(step.task, 60)
    assert "secret" not in caplog.text


async def test_result_is_found_by_later_steps_under_its_name(resources):
    register = {
        "ispyb_command": "register_processing",
        "program": "fast_dp",
        "store_result": "ispyb_autoprocprogram_id",
    }
    outcome = await try_step(store_in_ispyb, {"parameters": register}, [""], resources)
    (send,) = outcome.sent
    assert send.environment == {"ID": "by-hand", "ispyb_autoprocprogram_id": send.payload["result"]}

    update = {
        "ispyb_command": "update_processing_status",
        "program_id": "$ispyb_autoprocprogram_id",
        "status": "success",
    }
    step = RunningStep(store_in_ispyb, update, resources)
    step.put({"message": "it took ${minutes} minutes"}, minutes=3, **send.environment)
    await step.end()
    assert (step.refused, step.sent[0].payload) == ([], {"result": send.payload["result"]})


async def test_single_commands_do_not_wait_for_company(resources, monkeypatch):
    monkeypatch.setattr(image_batches, "BATCH_PATIENCE_S", 3600)
    step = RunningStep(store_in_ispyb, {"ispyb_command": "register_processing", "program": "fast_dp"}, resources)
    step.put({})
    await until(lambda: step.sent)
    await step.end()


async def test_unknown_command_refuses_each_message_and_says_where_the_known_are(resources):
    outcome = await try_step(store_in_ispyb, {"parameters": {"ispyb_command": "drop_tables"}}, [1, 2], resources)
    assert len(outcome.refused) == 2
    assert isinstance(outcome.refused[0][1], MessageRefused)
    assert "`plaza ispyb commands`" in str(outcome.refused[0][1])


async def test_missing_command_refuses_each_message(resources):
    outcome = await try_step(store_in_ispyb, {"parameters": {}}, [1], resources)
    assert "ispyb_command" in str(outcome.refused[0][1])


async def test_failing_command_leaves_the_step_alive(resources, tmp_path):
    (tmp_path / "x.log").touch()
    parameters = {"ispyb_command": "add_program_message", "severity": "INFO"}
    messages = [{"program_id": 4711}, {"program_id": None, "severity": "LOUD"}]
    outcome = await try_step(store_in_ispyb, {"parameters": parameters}, messages, resources)
    assert len(outcome.refused) == 2
    reason = str(outcome.refused[0][1])
    assert "add_program_message (program_id 4711): ISPyB has no AutoProcProgram 4711" in reason
    assert "INSERT" not in reason


@pytest.mark.parametrize(
    ("payload", "recipe", "environment", "expected"),
    [
        ({"a": 1}, {"a": 2, "b": 3}, {}, {"a": 1, "b": 3}),
        ({}, {"a": 2}, {}, {"a": 2}),
        ({"a": "$x"}, {"b": "<${x}>"}, {"x": 5}, {"a": "5", "b": "<5>"}),
        ({"a": "$xy $x"}, {}, {"x": 1, "xy": 2}, {"a": "2 1"}),
        ({"a": "$unknown"}, {}, {"x": 1}, {"a": "$unknown"}),
        ({"file_name": "$x", "file_path": "$x", "importance_rank": "$x"}, {}, {"x": 1},
         {"file_name": "$x", "file_path": "$x", "importance_rank": "$x"}),
        ({"a": ["$x"]}, {}, {"x": 1}, {"a": ["$x"]}),
    ],
)  # fmt: skip
def test_parameters_are_looked_up_in_message_then_recipe(payload, recipe, environment, expected):
    assert look_up(environment, payload, recipe) == expected
