"""Which writer a site gets, and messages that aren't part of a recipe."""

import pytest
from pydantic import SecretStr, ValidationError
from sqlalchemy import select

from blocks.errors import MessageRefused
from blocks.settings import Settings
from blocks.site_ispyb import connect_reader, writer_kind
from tasks.ispyb_access.schema.tables import METADATA
from tasks.ispyb_access.writing.writer import SqlWriter
from tasks.ispyb_connector.storing import ConnectorParameters, store_in_ispyb
from tasks.step import NodePlan
from tasks.step.runner import try_step
from tests.support.dev_mariadb import only_sqlite

REGISTER = {"ispyb_command": "register_processing", "program": "fast_dp", "store_result": "program"}


@pytest.fixture
def programs(engine):
    table = METADATA.tables["AutoProcProgram"].c

    def programs():
        with engine.connect() as connection:
            return list(connection.scalars(select(table.processingPrograms).order_by(table.autoProcProgramId)))

    return programs


async def test_sql_is_written_unless_the_site_chooses_otherwise(resources):
    assert isinstance(resources.ispyb_writer, SqlWriter)
    assert resources.ispyb_writer is resources.ispyb_writer


@only_sqlite
@pytest.mark.parametrize(
    ("setting", "url", "has_api", "of_block", "expected"),
    [
        (None, None, False, "procedures", "sql"),
        (None, None, True, None, "sql"),
        (None, None, True, "procedures", "procedures"),
        (None, "sqlite:///x", True, "procedures", "sql"),
        ("sql", None, True, "procedures", "sql"),
        ("procedures", "mysql://x/y", False, None, "procedures"),
    ],
)
def test_the_setting_wins_over_the_block_which_speaks_of_its_own_database(
    setting, url, has_api, of_block, expected, settings, monkeypatch
):
    from blocks.ispyb_database import ISPyBDatabase

    block = of_block and ISPyBDatabase(url=SecretStr("mysql://x/y"), writer=of_block)
    monkeypatch.setattr("blocks.site_ispyb.has_prefect_api", lambda: has_api)
    monkeypatch.setattr("blocks.saved_blocks.find_block", lambda *_, **__: block)
    chosen = settings.model_copy(update={"ispyb_writer": setting, "ispyb_url": url})
    assert writer_kind(chosen) == expected


@only_sqlite
@pytest.mark.parametrize(
    ("setting", "url", "of_block", "expected"),
    [
        (None, None, None, None),
        (None, None, "sqlite:///of-block", "of-block"),
        ("sqlite:///of-setting", None, "sqlite:///of-block", "of-setting"),
        (None, "sqlite:///x", "sqlite:///of-block", None),
        ("sqlite:///of-setting", "sqlite:///x", None, "of-setting"),
    ],
)
def test_the_user_that_reads_is_that_of_the_same_ispyb(setting, url, of_block, expected, settings, monkeypatch):
    from blocks.ispyb_database import ISPyBDatabase

    block = ISPyBDatabase(url=SecretStr("mysql://x/y"), read_url=of_block and SecretStr(of_block))
    monkeypatch.setattr("blocks.site_ispyb.has_prefect_api", lambda: True)
    monkeypatch.setattr("blocks.saved_blocks.find_block", lambda *_, **__: block)
    reader = connect_reader(settings.model_copy(update={"ispyb_read_url": setting, "ispyb_url": url}))
    assert (reader and reader.url.database) == expected


def test_an_unknown_writer_is_no_setting():
    with pytest.raises(ValidationError, match="procedures"):
        Settings(ispyb_writer="pigeons")


async def test_a_message_of_its_own_brings_command_and_content(resources, programs):
    messages = [
        {"parameters": REGISTER, "content": "register it"},
        {"parameters": REGISTER, "content": {"program": "content wins"}},
    ]
    outcome = await try_step(store_in_ispyb, {}, messages, resources)
    assert (outcome.refused, programs()) == ([], ["fast_dp", "content wins"])
    assert [send.environment["program"] for send in outcome.sent] == [send.payload["result"] for send in outcome.sent]


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("text", "expected ispyb_command"),
        ({}, "expected ispyb_command"),
        ({"parameters": REGISTER}, "expected ispyb_command"),
        ({"parameters": {}, "content": {}}, "expected ispyb_command"),
        ({"parameters": [REGISTER], "content": {}}, "expected ispyb_command"),
        ({"parameters": {"ispyb_command": "make_coffee"}, "content": {}}, "no ISPyB command 'make_coffee'"),
        ({"parameters": {"ispyb_command": "of the message"}, "content": {}}, "no ISPyB command 'of the message'"),
        ({"parameters": {"ispyb_command": "multipart_message"}, "content": {"ispyb_command_list": [REGISTER]}},
         "multipart_message is for recipes"),
        ({"parameters": {"ispyb_command": "buffer"}, "content": {}}, "buffer is for recipes"),
        ({"parameters": REGISTER | {"store_result": ["x"]}, "content": {}}, "expected a name as store_result"),
        ({"parameters": REGISTER | {"store_result": {"x": 1}}, "content": {}}, "expected a name as store_result"),
    ],
)  # fmt: skip
async def test_other_messages_of_their_own_are_refused(payload, expected, resources, programs):
    outcome = await try_step(store_in_ispyb, {"parameters": {}}, [payload], resources)
    ((_, error),) = outcome.refused
    assert expected in str(error)
    assert programs() == []


async def test_in_a_recipe_such_a_message_is_a_payload_like_any_other(resources, programs):
    payload = {"parameters": REGISTER | {"program": "not this one"}, "content": {}}
    await try_step(store_in_ispyb, {"parameters": REGISTER}, [payload], resources)
    assert programs() == ["fast_dp"]


def test_a_recipe_that_names_no_command_is_found_out_before_it_runs():
    with pytest.raises(MessageRefused, match="expects ispyb_command among the node's parameters"):
        store_in_ispyb.check(ConnectorParameters.model_validate({}), NodePlan({}))
