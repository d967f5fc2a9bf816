"""What a request comes to: the messages that Zocalo's clients send, and what is no request."""

import asyncio
import json

import pytest

from blocks.settings import get_settings
from flows.events.dispatching import RecipeNotDeployed, RequestRefused, check_request, dispatch
from flows.events.request import RunRequest
from tests.support.fake_resources import FakeLauncher, FakeResources

NODE = {"queue": "images", "parameters": {"image_command": "diffraction", "file": "{file}"}}
RECIPE = {"1": NODE, "start": [[1, []]]}


@pytest.fixture
def recipes(home, monkeypatch):
    folder = home / "recipes"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.json").write_text(json.dumps(RECIPE))
    monkeypatch.setenv("PLAZA_RECIPE_DIRECTORY", str(folder))
    get_settings.cache_clear()
    return folder


@pytest.fixture
def resources():
    return FakeResources(launcher=FakeLauncher(["a", "b", "ispyb-x", "mimas"]))


def dispatched(message, resources, key="k"):
    return asyncio.run(dispatch(RunRequest.model_validate(message), key, resources))


def test_one_recipe_is_its_own_deployment(recipes, resources):
    launch = dispatched({"recipes": ["a"], "parameters": {"ispyb_dcid": "1234", "foo": "1"}}, resources).launch
    assert (launch.recipe, launch.deployment, launch.dcid, launch.key) == ("a", "live", 1234, "k")
    assert launch.parameters == {"ispyb_dcid": "1234", "foo": "1"}
    assert launch.name == "a · dcid 1234"
    assert launch.tags == ["dcid:1234"]


def test_single_text_names_a_recipe(recipes, resources):
    assert dispatched({"recipes": "a"}, resources).launch.recipe == "a"


def test_several_recipes_are_one_run(recipes, resources):
    launch = dispatched({"recipes": ["a", "b"], "parameters": {"ispyb_dcid": 1}}, resources).launch
    assert (launch.recipe, launch.flow_parameters) == ("merged-recipe", {"recipes": ["a", "b"]})
    assert launch.name == "a + b · dcid 1"


def test_custom_recipe_is_kept_by_what_it_says(recipes, resources, home):
    message = {"recipes": ["a"], "custom_recipe": RECIPE, "parameters": {}}
    launch, again = (dispatched(message, resources).launch for _ in range(2))
    assert launch == again
    assert launch.name == "custom recipe + a"
    [kept] = (home / "custom-recipes").iterdir()
    assert kept.stem == launch.flow_parameters["custom_recipe"]


@pytest.mark.parametrize("event", ["end", "END", "End"])
def test_mimas_is_told_of_an_event(recipes, resources, event):
    found = dispatched(
        {
            "recipes": ["mimas"],
            "parameters": {
                "ispyb_dcid": 1001,
                "event": event,
                "filename": None,
                "start_frame_index": 0,
                "ispyb_wait_for_runstatus": "1",
                "dispatcher_timeout": "60",
                "dispatcher_error_queue": "late",
                "guid": "a-guid",
            },
        },
        resources,
    )
    [told] = found.events
    assert found.launch is None
    assert (told.event, told.dcid, told.guid) == ("end", 1001, "a-guid")
    assert (told.wait_for_run_status, told.run_status_timeout, told.error_queue) == (True, 60.0, "late")
    assert told.parameters == {"filename": None, "start_frame_index": 0}


@pytest.mark.parametrize("event", ["start_group", "START_GROUP", "start-group"])
def test_groups_are_written_in_either_way(recipes, resources, event):
    [told] = dispatched({"recipes": ["mimas"], "parameters": {"ispyb_dcid": 1, "event": event}}, resources).events
    assert told.event == "start-group"


def test_mimas_among_recipes_is_told_beside_them(recipes, resources):
    found = dispatched({"recipes": ["a", "mimas"], "parameters": {"ispyb_dcid": 1, "event": "end"}}, resources)
    assert [told.event for told in found.events] == ["end"]
    assert found.launch.recipe == "a"


def test_sites_own_recipe_of_mimas_is_a_recipe(recipes, resources):
    (recipes / "mimas.json").write_text((recipes / "a.json").read_text())
    found = dispatched({"recipes": ["mimas"], "parameters": {"ispyb_dcid": 1, "event": "end"}}, resources)
    assert not found.events
    assert (found.launch.recipe, found.launch.deployment) == ("mimas", "live")


@pytest.mark.parametrize(
    ("value", "is_waited"), [("1", True), (1, True), ("yes", True), ("0", False), ("False", False)]
)
def test_wait_is_what_a_person_would_call_yes(recipes, resources, value, is_waited):
    parameters = {"ispyb_dcid": 1, "event": "end", "ispyb_wait_for_runstatus": value}
    [told] = dispatched({"recipes": ["mimas"], "parameters": parameters}, resources).events
    assert told.wait_for_run_status is is_waited


def test_request_with_a_guid_is_known_by_it_and_by_what_it_says(recipes, resources):
    one = {"recipes": ["a"], "parameters": {"guid": "x/y-z", "ispyb_dcid": 1}}
    other = {"recipes": ["b"], "parameters": {"guid": "x/y-z", "ispyb_dcid": 1}}
    as_text = {"recipes": ["a"], "parameters": {"guid": "x/y-z", "ispyb_dcid": "1"}}
    asked = ((one, "k"), (one, "l"), (as_text, "m"), (other, "k"))
    keys = [dispatched(message, resources, key).launch.key for message, key in asked]
    assert keys[0] == keys[1] == keys[2] != keys[3]
    assert keys[0].startswith("guid-xy-z-")
    assert dispatched(one, resources).launch.tags == ["dcid:1", "guid:x/y-z"]


REFUSED = {
    "nothing": ({"recipes": [], "parameters": {}}, "nothing to run"),
    "nothing but a collection": ({"parameters": {"ispyb_dcid": 1}}, "nothing to run"),
    "bad dcid": ({"recipes": ["a"], "parameters": {"ispyb_dcid": "abc"}}, "ispyb_dcid"),
    "dcid 0": ({"recipes": ["a"], "parameters": {"ispyb_dcid": 0}}, "ispyb_dcid"),
    "dcid beyond ISPyB": ({"recipes": ["a"], "parameters": {"ispyb_dcid": 2**40}}, "from 1 to 4294967295"),
    "guid of an object": ({"recipes": ["a"], "parameters": {"guid": {"a": 1}}}, "guid: expected"),
    "guid of a list": ({"recipes": ["a"], "parameters": {"guid": ["a"]}}, "guid: expected"),
    "bad job": ({"parameters": {"ispyb_process": "4x"}}, "ispyb_process"),
    "path": ({"recipes": ["../a"]}, "no recipe can be called"),
    "NUL": ({"recipes": ["a\0"]}, "no recipe can be called"),
    "own flow": ({"recipes": ["merged-recipe"]}, "flow of Plaza's own"),
    "custom recipe of a cycle": (
        {"custom_recipe": {"1": {"queue": "images", "output": 1}, "start": [[1, []]]}},
        "custom recipe: node 1: cycle: 1 -> 1",
    ),
    "custom recipe with half a placeholder": (
        {"custom_recipe": {"1": {"queue": "images", "parameters": {"file": "{x"}}, "start": [[1, []]]}},
        "custom recipe: node 1: ",
    ),
    "custom recipe that looks into text": (
        {"custom_recipe": {"1": {"queue": "images", "a": "{x[y]}"}, "start": [[1, []]]}, "parameters": {"x": "text"}},
        "custom recipe: node 1: ",
    ),
    "custom recipe without start": ({"custom_recipe": {"1": {"queue": "images"}}}, "start"),
    "event missing": ({"recipes": ["mimas"], "parameters": {"ispyb_dcid": 1}}, "needs an event"),
    "unknown event": ({"recipes": ["mimas"], "parameters": {"ispyb_dcid": 1, "event": "tea"}}, "event"),
    "event of a number": ({"recipes": ["mimas"], "parameters": {"ispyb_dcid": 1, "event": 3}}, "event"),
    "mimas without dcid": ({"recipes": ["mimas"], "parameters": {"event": "end"}}, "ispyb_dcid"),
    "bad time-out": ({"recipes": ["a"], "parameters": {"dispatcher_timeout": "soon"}}, "dispatcher_timeout"),
    "endless time-out": ({"recipes": ["a"], "parameters": {"dispatcher_timeout": 1e9}}, "dispatcher_timeout"),
    "bad queue": ({"recipes": ["a"], "parameters": {"dispatcher_error_queue": 3}}, "dispatcher_error_queue"),
    "too much": ({"recipes": ["a"], "parameters": {"x": "y" * 100_000}}, "bytes"),
    "NUL in a parameter": ({"recipes": ["a"], "parameters": {"x": "\0"}}, "NUL"),
}


@pytest.mark.parametrize(("message", "reason"), REFUSED.values(), ids=REFUSED)
def test_bad_requests_are_refused_with_the_reason(recipes, message, reason):
    with pytest.raises(RequestRefused, match=reason):
        check_request(RunRequest.model_validate(message))


@pytest.mark.parametrize("names", [["c"], ["a", "c"]])
def test_unknown_recipe_is_refused(recipes, resources, names):
    with pytest.raises(RequestRefused, match=r"c\.json|'c'"):
        dispatched({"recipes": names}, resources)


def test_recipe_that_is_not_deployed_yet_is_told_so(recipes, resources):
    resources.launcher.recipes.clear()
    with pytest.raises(RecipeNotDeployed, match="plaza deploy"):
        dispatched({"recipes": ["a"]}, resources)


def test_broken_recipe_among_several_is_refused(recipes, resources):
    (recipes / "b.json").write_text("{")
    with pytest.raises(RequestRefused, match=r"b\.json: not JSON"):
        dispatched({"recipes": ["a", "b"]}, resources)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"recipes": ["x" * 300]}, "it has 300 bytes"),
        ({"recipes": ["é" * 150]}, "it has 300 bytes"),
        ({"recipes": ["a\0"]}, "can't be printed"),
        ({"recipes": ["a"], "parameters": {"guid": "x" * 201}}, "guid: expected 200 characters at most"),
        ({"recipes": ["mimas"], "parameters": {"guid": "x" * 201, "ispyb_dcid": 1, "event": "end"}}, "guid: expected"),
        ({"recipes": ["a"], "parameters": {"dispatcher_error_queue": "é" * 150}}, "it has 300 bytes"),
        ({"recipes": ["a"], "parameters": {"dispatcher_error_queue": "a\0"}}, "can't be printed|NUL"),
        ({"recipes": ["a"], "parameters": {"ispyb_dcid": 2**32}}, "from 1 to 4294967295"),
        ({"recipes": ["a"], "parameters": {"ispyb_dcid": 0}}, "from 1 to 4294967295"),
    ],
)
def test_names_and_ids_have_limits_that_are_told(request_, reason):
    with pytest.raises(RequestRefused, match=reason):
        check_request(RunRequest.model_validate(request_))


def test_a_name_that_the_file_system_refuses_is_no_trouble_that_passes(recipes, resources, monkeypatch):
    import errno
    import os
    from pathlib import Path

    def is_file(path):
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), str(path))

    monkeypatch.setattr(Path, "is_file", is_file)  # encrypting file systems take 143 bytes
    with pytest.raises(RequestRefused, match="File name too long"):
        dispatched({"recipes": ["x" * 200]}, resources)
