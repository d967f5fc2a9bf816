"""The same event by several doors: each recipe runs once, whoever tells it, in whatever form."""

import asyncio
import json
from uuid import uuid4

import pytest

from blocks.settings import get_settings
from flows.events.dispatcher_step import start_recipes
from flows.events.dispatching import dispatch
from flows.events.event import CollectionEvent
from flows.events.request import RunRequest
from flows.mimas.launches.launching import launch_decided
from flows.mimas.record import DecisionRecord
from flows.mimas.rules import decide
from flows.mimas.scenarios.given_scenario import scenario_from_parameters
from flows.mimas.step import decide_on_collection
from flows.recipe.run_record.folder import run_folder
from flows.run_marks import extras_that_count
from tasks.step import StepContext
from tests.support.engine_runs import Engine
from tests.support.fake_mimas import FakeMimas
from tests.support.fake_resources import FakeLauncher, FakeResources

RECIPES = ("archive-cbfs", "per-image-analysis-gridscan")
FACTS = {"dcid": 12, "event": "start", "dc_class": {"grid": True}, "beamline": "i03", "detectorclass": "pilatus"}
DODAL = {"filename": None, "message_index": 0, "number_of_frames": 12, "start_frame_index": 0}
AS_TEXT = {name: str(value) for name, value in DODAL.items()}


@pytest.fixture
def resources(home, monkeypatch):
    monkeypatch.setenv("PLAZA_RECIPE_DIRECTORY", str(home))
    get_settings.cache_clear()
    return FakeResources(launcher=FakeLauncher([*RECIPES, "mimas"]))


def event_of(extras):
    """Return what Mimas is told when a client of Zocalo's sends its message."""
    parameters = {"ispyb_dcid": 12, "event": "start", **extras}
    request = RunRequest(recipes=("mimas",), parameters=parameters)
    [event] = asyncio.run(dispatch(request, uuid4().hex, FakeResources())).events
    return event


def by_flow(extras, resources):
    decision = decide(scenario_from_parameters(FACTS)[0])
    asyncio.run(launch_decided(DecisionRecord.of(decision, event_of(extras).parameters), None, resources))


def by_recipe(extras, resources):
    recipe = {
        1: {"queue": "mimas", "parameters": {**FACTS, **extras}, "output": 2},
        2: {"queue": "keep"},
        "start": [[1, []]],
    }
    engine = Engine(resources)
    asyncio.run(engine.run(recipe, decide_on_collection))
    parent = str(uuid4())
    run_folder(parent, resources.settings.home).path.mkdir(parents=True)
    for message in engine.kept:
        context = StepContext({}, parent, resources, refuse=lambda message, error: None)
        asyncio.run(start_recipes.message_function(start_recipes.parameters(), message, context))


DOORS = {
    "dodal": lambda resources: by_flow(DODAL, resources),
    "as text": lambda resources: by_flow(AS_TEXT, resources),
    "plain": lambda resources: by_flow({}, resources),
    "recipe": lambda resources: by_recipe(AS_TEXT, resources),
}


@pytest.mark.parametrize("first", DOORS)
def test_each_recipe_runs_once_whichever_door_comes_first(resources, first):
    DOORS[first](resources)
    given = [launch.parameters for launch in resources.launcher.launched]
    for door in DOORS.values():
        door(resources)
    launched = resources.launcher.launched
    assert sorted(launch.recipe for launch in launched) == list(RECIPES)
    assert [launch.parameters for launch in launched] == given


async def test_while_mimas_decides_every_door_has_its_run(home):
    mimas = FakeMimas()
    async with mimas.open_sender() as sender:
        for extras in (DODAL, AS_TEXT, {}):
            event = CollectionEvent.now("start", 12, {**extras, "resolution": 1.5})
            await sender.send(event, uuid4().hex)
        assert len(mimas.runs) == 1
        mimas.end()  # then it looks again, once for who asks at the same time
        for extras in (DODAL, AS_TEXT, {}):
            event = CollectionEvent.now("start", 12, {**extras, "resolution": "1.5"})
            await sender.send(event, uuid4().hex)
        assert len(mimas.runs) == 2
        await sender.send(CollectionEvent.now("start", 12, DODAL), uuid4().hex)
        assert len(mimas.runs) == 3


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ({"a": 1}, {"a": "1"}, True),
        ({"a": [1, {"b": 2.5}]}, {"a": ["1", {"b": "2.5"}]}, True),
        ({"a": True}, {"a": "True"}, True),
        ({"a": None}, {"a": "None"}, True),
        (DODAL, {}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": 1}, {"b": 1}, False),
        ({"a": [1]}, {"a": "1"}, False),
        ({"a": 1}, {}, False),
        ({"a": {"filename": "x"}}, {"a": {}}, False),
    ],
)
def test_extras_are_the_same_by_their_text(one, other, is_same):
    assert (extras_that_count(one) == extras_that_count(other)) is is_same


def test_a_message_with_a_guid_is_the_same_as_text(resources):
    one = {"recipes": ["mimas"], "parameters": {"ispyb_dcid": 12, "event": "end", "guid": "g", "x": 1}}
    other = json.loads(json.dumps(one).replace("12", '"12"').replace("1}", '"1"}'))
    assert event_of(one["parameters"]).key == event_of(other["parameters"]).key
