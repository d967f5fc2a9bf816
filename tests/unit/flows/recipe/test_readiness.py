"""A run waits for the run status as its message says, and what comes of it if there is none."""

import json

import pytest

from blocks.errors import RecipeError
from flows.recipe import readiness
from flows.recipe.ispyb_reading import RunStatusMissing
from flows.recipe.language.recipe import recipe_from_document
from flows.recipe.language.substitution import fill_recipe
from flows.recipe.queue_sending import one_step_recipe
from flows.recipe.readiness import RunStatusWait, await_readiness, is_wanted, wait_asked_for
from tests.support.fake_resources import FakeLauncher, FakeResources


@pytest.mark.parametrize(
    ("value", "is_on"),
    [(value, True) for value in ("1", 1, True, "true", "yes", " 1 ", "TRUE", [1])]
    + [(value, False) for value in ("0", 0, False, "false", "False", "no", "", " ", "none", "None", None, "off", [])],
)
def test_switch_is_what_a_person_would_call_it(value, is_on):
    assert is_wanted(value) is is_on


@pytest.mark.parametrize(
    ("parameters", "wait"),
    [
        ({}, None),
        ({"dispatcher_timeout": 5}, None),
        ({"ispyb_wait_for_runstatus": "1"}, RunStatusWait(120.0)),
        ({"ispyb_wait_for_runstatus": 1, "dispatcher_timeout": "60"}, RunStatusWait(60.0)),
        ({"ispyb_wait_for_runstatus": 1, "dispatcher_timeout": ""}, RunStatusWait(120.0)),
        ({"ispyb_wait_for_runstatus": 1, "dispatcher_error_queue": "late"}, RunStatusWait(120.0, "late")),
        ({"ispyb_wait_for_runstatus": 1, "dispatcher_error_queue": ""}, RunStatusWait(120.0)),
        ({"ispyb_wait_for_runstatus": 1, "dispatcher_expiration": 5.0}, RunStatusWait(120.0, None, 5.0)),
    ],
)
def test_wait_is_as_long_as_the_message_says(parameters, wait):
    assert wait_asked_for(parameters) == wait


@pytest.mark.parametrize("value", ["soon", -1, "nan", "inf", 1e12, True, [], {}])
def test_timeout_that_is_no_number_of_seconds_is_told(value):
    with pytest.raises(RecipeError, match="dispatcher_timeout: expected seconds"):
        wait_asked_for({"dispatcher_timeout": value})


def test_what_expired_before_is_looked_at_once_more():
    assert RunStatusWait(120.0, None, 5.0).left_s() == 0.0


@pytest.fixture
def never_ready(monkeypatch):
    async def await_run_status(resources, dcid, timeout_s):
        raise RunStatusMissing(f"no status of {dcid} after {timeout_s:g} s")

    monkeypatch.setattr(readiness, "await_run_status", await_run_status)


REQUEST = {"recipes": ["a"], "parameters": {"ispyb_dcid": 7, "guid": "g-{x}", "ispyb_wait_for_runstatus": "1"}}


async def test_without_an_error_queue_the_run_fails(home, never_ready):
    with pytest.raises(RunStatusMissing, match="no status of 7 after 120 s"):
        await await_readiness(7, RunStatusWait(), REQUEST, FakeResources())


async def test_error_queue_that_a_step_serves_gets_the_message_by_a_run(home, never_ready):
    resources = FakeResources(launcher=FakeLauncher(["merged-recipe"]))
    said = await await_readiness(7, RunStatusWait(1.0, "mailnotification"), REQUEST, resources)
    assert "no runStatus after 1 s" in said
    [launch] = resources.launcher.launched
    [kept] = (home / "custom-recipes").glob(f"{launch.flow_parameters['custom_recipe']}.json")
    filled = fill_recipe(recipe_from_document(json.loads(kept.read_text())), {"x": "filled"})
    [[node, message]] = filled.start
    assert filled.nodes[node]["queue"] == "mailnotification"
    expiration = message["parameters"].pop("dispatcher_expiration")
    assert isinstance(expiration, float)
    assert message == REQUEST


async def test_error_queue_that_nothing_serves_fails_the_run_with_both_reasons(home, never_ready):
    with pytest.raises(RunStatusMissing, match=r"no status of 7.*'no.such.queue' is served by no step.*--bridge"):
        await await_readiness(7, RunStatusWait(1.0, "no.such.queue"), REQUEST, FakeResources())


async def test_error_queue_of_the_broker_gets_it_by_the_bridge(home, never_ready, monkeypatch):
    put = []
    monkeypatch.setattr("tasks.broker_outbox.is_there", lambda settings: True)
    monkeypatch.setattr("tasks.broker_outbox.put", lambda queue, body, **how: put.append((queue, body["recipes"])))
    assert "bridge" in await await_readiness(7, RunStatusWait(1.0, "late"), REQUEST, FakeResources())
    assert put == [("late", ["a"])]


@pytest.mark.parametrize("text", ["{x}", "{$REPLACE:x}", "{", "}", "{}", "{{x}}", "{x:04d}", "a {b[c]} d"])
def test_braces_of_a_message_are_no_placeholders(text):
    message = {text: [text, {"k": text}], "n": None}
    filled = fill_recipe(recipe_from_document(one_step_recipe("q", message)), {"x": 1, "b": {}})
    assert filled.start == ((1, message),)
