"""A recipe's step starts runs: each once, with its parent; what names nothing to run is refused with the reason."""

import asyncio
import json

import pytest

from blocks.errors import MessageRefused
from blocks.settings import get_settings
from flows.events.dispatcher_step import start_recipes
from flows.recipe.run_record.children import read_children
from flows.recipe.run_record.folder import run_folder
from flows.run_marks import LAUNCH_KEY
from tasks.step import Message, StepContext
from tasks.step.notes import Notes
from tests.support.fake_resources import FakeLauncher, FakeResources

RECIPE = {"1": {"queue": "images"}, "start": [[1, []]]}
PARENT = "6b1f2c3d-0000-4000-8000-000000000001"


@pytest.fixture
def resources(home, monkeypatch):
    folder = home / "recipes"
    folder.mkdir()
    for name in "ab":
        (folder / f"{name}.json").write_text(json.dumps(RECIPE))
    run_folder(PARENT, home).path.mkdir(parents=True)
    monkeypatch.setenv("PLAZA_RECIPE_DIRECTORY", str(folder))
    get_settings.cache_clear()
    return FakeResources(launcher=FakeLauncher(["a", "b", "merged-recipe", "mimas"]))


def handled(payload, resources, number=5, run=PARENT, environment=None, **ways):
    context = StepContext({}, run, resources, refuse=lambda message, error: None, **ways)
    message = Message(payload, {"ID": "parents-guid", **(environment or {})}, number, 0.0)
    sends = asyncio.run(start_recipes.message_function(start_recipes.parameters(), message, context))
    return list(sends)


def test_message_starts_a_run_and_its_parent_knows_it(resources, home, caplog):
    caplog.set_level("INFO")
    message = {"recipes": ["a"], "parameters": {"ispyb_dcid": 7, "guid": "childs-guid"}}
    assert handled(message, resources) == []
    [launch] = resources.launcher.launched
    assert (launch.recipe, launch.dcid) == ("a", 7)
    assert f"parent:{PARENT}" in launch.tags
    [child] = read_children(run_folder(PARENT, home))
    assert (child.what, child.recipe_id) == ("a · dcid 7", "childs-guid")
    assert "recipe ID parents-guid has started a · dcid 7: recipe ID childs-guid" in caplog.text


def test_message_that_comes_again_starts_nothing_twice(resources, home):
    for _ in range(2):
        handled({"recipes": ["a", "b"], "parameters": {}}, resources)
    assert len(resources.launcher.launched) == 1
    assert len(read_children(run_folder(PARENT, home))) == 1
    handled({"recipes": ["a", "b"], "parameters": {}}, resources, number=6)
    assert len(resources.launcher.launched) == 2


def test_mimas_is_started_at_its_event(resources):
    handled({"recipes": ["mimas"], "parameters": {"ispyb_dcid": "7", "event": "END", "filename": None}}, resources)
    [launch] = resources.launcher.launched
    assert (launch.recipe, launch.deployment, launch.dcid) == ("mimas", "end", 7)
    assert launch.parameters == {"filename": None}


def test_run_that_was_killed_while_it_noted_its_children_notes_them_again(resources, home):
    run_folder(PARENT, home).children.write_text('{"flow_run": "x", "wh')
    handled({"recipes": ["a"]}, resources)
    assert [child.what for child in read_children(run_folder(PARENT, home))] == ["a"]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ([], "expected an object"),
        ("a", "expected an object"),
        (None, "expected an object"),
        ({"recipes": ["a"], "parameters": []}, "parameters"),
        ({"recipes": ["a"], "parameters": None}, "parameters"),
        ({"recipes": 3}, "recipes"),
        ({"recipes": [3]}, "recipes"),
        ({"custom_recipe": [1]}, "custom_recipe"),
        ({}, "nothing to run"),
        ({"recipes": [], "parameters": {}}, "nothing to run"),
        ({"recipes": ["unheard-of"]}, "unheard-of"),
        ({"recipes": ["mimas"], "parameters": {"ispyb_dcid": 7}}, "needs an event"),
    ],
)
def test_message_that_names_nothing_to_run_is_refused(resources, payload, reason):
    with pytest.raises(MessageRefused, match=reason):
        handled(payload, resources)
    assert not resources.launcher.launched


def test_recipe_that_mimas_asks_for_and_that_is_not_here_is_noted(resources):
    notes = Notes()
    handled({"recipes": ["unheard-of"]}, resources, environment={LAUNCH_KEY: "7-end-unheard-of"}, note=notes.add)
    assert notes.lines() == ["1 not installed here: unheard-of"]
    assert not resources.launcher.launched
    with pytest.raises(MessageRefused, match="no recipe can be called"):
        handled({"recipes": ["../x"]}, resources, environment={LAUNCH_KEY: "7-end-x"})


def test_run_that_is_refused_is_told(resources):
    resources.launcher.broken["a"] = "no room"
    with pytest.raises(MessageRefused, match="a: no room"):
        handled({"recipes": ["a"]}, resources)


def test_job_is_run_once_by_its_own_recipe(resources, monkeypatch):
    class Job:
        process, recipe, dcid = 42, "ispyb-x", 7

    resources.launcher.recipes.add("ispyb-x")
    monkeypatch.setattr("flows.events.dispatching._read_job", lambda request, resources: Job)
    for number in (5, 6):
        handled({"recipes": [], "parameters": {"ispyb_process": 42}}, resources, number=number)
    [launch] = resources.launcher.launched
    assert (launch.recipe, launch.dcid, launch.key) == ("ispyb-x", 7, "7-job-42")
    assert launch.parameters == {"ispyb_process": 42}
