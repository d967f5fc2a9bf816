"""`plaza deploy` on a real server."""

from __future__ import annotations

import asyncio
import json
import shutil

import pytest
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from blocks.errors import ConfigurationError
from flows.deploying.apply import deploy
from flows.launching import PrefectLauncher
from tasks.step.ports import Launch, LaunchedRecipe
from tests.support.recipe_names import BAD_NAMES, GOOD_NAMES
from tests.support.site_under_test import RUNTIME_SITE

pytestmark = pytest.mark.slow

RECIPE = {"1": {"service": "DLS Mailer", "queue": "mailnotification", "parameters": {}}, "start": [[1, []]]}


@pytest.fixture
def folder(tmp_path):
    """Deployment files of the tests, and a recipe."""
    shutil.copytree(RUNTIME_SITE, tmp_path, dirs_exist_ok=True)
    _write_recipe(tmp_path, "tell-everyone", RECIPE)
    return tmp_path


def _write_recipe(folder, name, recipe):
    (folder / f"{name}.json").write_text(json.dumps(recipe))


@pytest.fixture
def apply(runtime_site, folder, monkeypatch):
    """A call that deploys and returns what changed, by deployment."""
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PLAZA_RECIPE_DIRECTORY", str(folder))
    from blocks.settings import get_settings

    get_settings.cache_clear()
    settings = runtime_site.settings.model_copy(update={"recipe_directory": folder})

    def run():
        site = runtime_site.site
        with temporary_settings({PREFECT_API_URL: site.api_url, PREFECT_API_AUTH_STRING: site.secret}):
            return {change.name: change for change in deploy(settings, folder)}

    yield run
    get_settings.cache_clear()


def test_recipe_file_becomes_changes_and_goes_with_its_deployment(apply, folder, runtime_site):
    assert apply()["tell-everyone/live"].what == "created"
    found = runtime_site.api("deployments/name/tell-everyone/live")
    assert found["entrypoint"] == "flows.recipe.catalogue.tell-everyone"
    assert found["work_queue_name"] == "live"
    assert set(found["tags"]) == {"plaza", "recipe"}
    assert "dcid" in found["parameter_openapi_schema"]["properties"]

    assert {change.what for change in apply().values()} == {"unchanged"}

    _write_recipe(folder, "tell-everyone", RECIPE | {"2": RECIPE["1"], "start": [[1, []], [2, []]]})
    changed = apply()["tell-everyone/live"]
    assert (changed.what, changed.reason) == ("updated", "version")

    _write_recipe(folder, "tell-everyone", RECIPE | {"2": RECIPE["1"]})  # which nothing leads to
    changed = apply()["tell-everyone/live"]
    assert changed.what == "refused"
    assert "node 2" in changed.reason
    assert runtime_site.api("deployments/name/tell-everyone/live")

    (folder / "tell-everyone.json").unlink()
    assert apply()["tell-everyone/live"].what == "removed"


def test_deployment_of_others_is_left_alone(apply, runtime_site):
    flow = runtime_site.api("flows/", {"name": "of-somebody-else"})["id"]
    runtime_site.api("deployments/", {"name": "theirs", "flow_id": flow, "tags": ["theirs"]})
    assert "of-somebody-else/theirs" not in apply()
    assert runtime_site.api("deployments/name/of-somebody-else/theirs")["name"] == "theirs"


def test_broken_entrypoint_is_refused_and_the_others_applied(apply, folder):
    file = folder / "prefect.yaml"
    file.write_text(f"{file.read_text()}  - <<: *trial\n    entrypoint: runtime_flows.missing\n")
    _write_recipe(folder, "tell-someone", RECIPE)
    changes = apply()
    refused = changes["runtime_flows.missing/trial"]
    assert refused.what == "refused"
    assert "prefect.yaml" in refused.reason
    assert changes["tell-someone/live"].what == "created"


def test_unknown_key_in_a_file_is_an_error(apply, folder):
    file = folder / "work_pools.yaml"
    file.write_text(file.read_text() + "    limit: 3\n")
    with pytest.raises(ConfigurationError, match=r"(?s)work_pools.yaml.*limit"):
        apply()


def test_recipes_of_odd_names_are_deployed_and_launched_and_bad_ones_stop_nobody(apply, folder, runtime_site):
    for name in (*GOOD_NAMES, *BAD_NAMES):
        _write_recipe(folder, name, RECIPE)
    changes = apply()
    assert {name for name in GOOD_NAMES if changes[f"{name}/live"].what != "created"} == set()
    refused = [change for change in changes.values() if change.what == "refused"]
    assert len(refused) == len(BAD_NAMES)
    assert all(str(change).isprintable() for change in refused)
    odd = [name for name in GOOD_NAMES if "." in name or "{" in name]
    launches = [Launch(recipe=name, dcid=None, parameters={}, key=f"odd {name}", name=name) for name in odd]
    with temporary_settings(
        {PREFECT_API_URL: runtime_site.site.api_url, PREFECT_API_AUTH_STRING: runtime_site.site.secret}
    ):
        launched = asyncio.run(PrefectLauncher().launch(launches))
    assert [type(each) for each in launched] == [LaunchedRecipe] * len(odd), launched
    assert {change.what for name, change in apply().items() if name.removesuffix("/live") in GOOD_NAMES} == {
        "unchanged"
    }


AUTOMATED = """  - <<: *trial
    name: automated
    entrypoint: runtime_flows.note_event
    schedules:
      - {slug: yearly, cron: "0 3 1 1 *"}
    triggers:
      - name: event on tea
        expect: [tea.made]
        match: {prefect.resource.id: tea.*}
        parameters: {dcid: "{{ event.payload.dcid }}"}
"""


def test_schedules_and_automations_come_and_go_with_their_deployment(apply, folder, runtime_site):
    file = folder / "prefect.yaml"
    without = file.read_text()
    file.write_text(without + AUTOMATED)
    assert apply()["automation event on tea"].what == "created"
    (automation,) = runtime_site.api("automations/filter", {})
    deployment = runtime_site.api("deployments/name/mimas/automated")
    assert automation["actions"][0]["deployment_id"] == deployment["id"]
    assert [schedule["slug"] for schedule in deployment["schedules"]] == ["yearly"]
    changes = apply()
    assert changes["automation event on tea"].what == "unchanged"
    assert changes["mimas/automated"].what == "unchanged"

    runtime_site.api(f"automations/{automation['id']}", {"enabled": False}, "PATCH")
    file.write_text(without + AUTOMATED.replace("tea.made", "tea.poured").replace("0 3 1 1 *", "0 4 1 1 *"))
    changes = apply()
    assert changes["automation event on tea"].what == "updated"
    assert changes["mimas/automated"].reason == "schedules"
    (automation,) = runtime_site.api("automations/filter", {})
    assert (automation["enabled"], automation["trigger"]["expect"]) == (False, ["tea.poured"])

    file.write_text(without + AUTOMATED.replace("dcid:", "leaves:"))
    assert apply()["automation event on tea"].what == "refused"
    assert len(runtime_site.api("automations/filter", {})) == 1

    file.write_text(without)
    changes = apply()
    assert changes["mimas/automated"].what == "removed"
    assert runtime_site.api("automations/filter", {}) == []
