"""The JSON Schema of recipes: it's the committed one, takes what we ship, and refuses what editors should mark."""

import json

import jsonschema
import pytest

from blocks.settings import CHECKOUT
from flows.recipe.catalogue import recipe_files
from flows.recipe.check.json_schema import recipe_schema, schema_text
from tasks.step.registry import own_queues

COMMITTED = CHECKOUT / "recipes" / "schema" / "recipe.json"
RECIPES = sorted((CHECKOUT / "recipes").glob("*.json"))


@pytest.fixture(scope="module")
def validator():
    schema = recipe_schema(own_queues())
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


def test_the_committed_schema_is_that_of_the_steps():
    assert COMMITTED.read_text() == schema_text(own_queues()), (
        "make it anew: plaza recipe schema > recipes/schema/recipe.json"
    )


def test_the_schema_is_no_recipe():
    assert COMMITTED.stem not in recipe_files()


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_recipes_that_we_ship_fit_the_schema(validator, file):
    assert [error.message for error in validator.iter_errors(json.loads(file.read_text()))] == []


def node(queue="notify_gda", **changes):
    document = {"queue": queue, "parameters": {"dcid": 1, "host": "gda", "port": 9000}} | changes
    return {"1": document, "start": [[1, []]]}


def store(**parameters):
    return node("ispyb_connector", parameters={"ispyb_command": "update_processing_status"} | parameters)


@pytest.mark.parametrize(
    "document",
    [
        node(),
        node("{queue}"),
        {"-1": {"service": "DLS Notify GDA"}, "02": {"queue": "images"}, "start": [[-1, None], [2, {}]], "error": 2},
        node(parameters={"dcid": "1", "host": "{gda_host}", "port": "{gda_port}", "of another step": []}),
        node(error={"any": [1, None]}, output=None, comment=["anything"]),
        node("per_image_analysis", parameters={}, output=2),
        node("per_image_analysis", output={"result": [2, 2]}),
        node("per_image_analysis", parameters={"d_max": "{resolution}", "scan_range": [1, "{last}"]}),
        node("filewatcher", parameters={"burst-limit": "200", "timeout": 2.5}, output={"select-250": 2, "17": [3]}),
        node("filewatcher", parameters={"log-timeout-as-info": "true", "list": ["{x}"]}),
        node("mailnotification", parameters={"content": ["a", "{payload}"]}),
        store(program_id="$ispyb_autoprocprogram_id"),
        store(),
        node(**{"transport-delay": "{delay}"}),
    ],
)
def test_recipe_that_may_run_fits(validator, document):
    assert [error.message for error in validator.iter_errors(document)] == []


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"1": {"queue": "images"}},
        {"1": {"queue": "images"}, "start": []},
        {"1": {"queue": "images"}, "start": [[1]]},
        {"0": {"queue": "images"}, "start": [[1, []]]},
        {"one": {"queue": "images"}, "start": [[1, []]]},
        {"1": {}, "start": [[1, []]]},
        {"1": [], "start": [[1, []]]},
        node("notify_gdaa"),
        node(parameters={"dcid": 1, "host": "gda"}),
        node(parameters={"dcid": 1, "host": "gda", "port": 90000}),
        node(parameters={"dcid": 1, "host": "gda", "port": "ninety"}),
        {"1": {"queue": "notify_gda"}, "start": [[1, []]]},
        node(output=2),
        node(output={"done": 2}),
        node(error="2"),
        node(**{"transport-delay": -1}),
        node("filewatcher", output=[2]),
        node("filewatcher", output={"selct-250": 2}),
        node("per_image_analysis", parameters={"threshold_algorithm": "dispersion_extnded"}),
        store(ispyb_command="update_procesing_status"),
        store(program_id="four"),
    ],
)
def test_what_is_certainly_wrong_does_not_fit(validator, document):
    assert list(validator.iter_errors(document))


def test_every_queue_and_command_can_be_completed():
    text = schema_text(own_queues())
    assert all(f'"{queue}"' in text for queue in own_queues())
    assert recipe_schema(["images"])["definitions"]["node"]["properties"]["queue"]["anyOf"][0]["enum"] == ["images"]
