"""Requests as Zocalo's dispatcher takes them, on a whole site: recipe IDs, merged recipes, and runs that start runs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from ispyb.sqlalchemy import DataCollection
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from sqlalchemy import Engine, update

from blocks.ispyb_connection import open_engine, transaction
from flows.recipe.run_record.children import Child, read_children
from flows.recipe.run_record.folder import run_folder
from flows.recipe.source import merged_name
from tests.support.commanded_site import CommandedSite, await_, site_of_recipes

pytestmark = pytest.mark.slow

GUID = "../beamline i03/4711~ü"


def effect(name: str, payload: Any = "it") -> dict[str, Any]:
    node = {"queue": "trial.effect", "parameters": {"folder": "{folder}", "name": name}}
    return {"1": node, "start": [[1, payload]]}


def starting(*requests: dict[str, Any]) -> dict[str, Any]:
    """A recipe whose one node starts runs."""
    return {"1": {"queue": "processing_recipe"}, "start": [[1, request] for request in requests]}


class Site(CommandedSite):
    """A site with recipes of trial steps, and a client of its Prefect."""

    def start_at(self, deployment: str, **parameters: Any) -> str:
        async def start(client: PrefectClient) -> str:
            found = await client.read_deployment_by_name(deployment)
            return str((await client.create_flow_run_from_deployment(found.id, parameters=parameters)).id)

        return self.ask(start)

    def flow_run(self, run: str) -> FlowRun:
        return self.ask(lambda client: client.read_flow_run(UUID(run)))

    def ask(self, question: Any) -> Any:
        async def ask() -> Any:
            async with PrefectClient(self.site.api_url, auth_string=self.site.secret) as client:
                return await question(client)

        return asyncio.run(ask())

    def await_end(self, run: str) -> str:
        """Wait for a run's end and return its state's name and message."""
        ended = await_(lambda: (found := self.flow_run(run)).state and found.state.is_final() and found.state)
        return f"{ended.name}: {ended.message}"

    def children(self, run: str) -> list[Child]:
        return read_children(run_folder(run, self.settings.home))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("trial")
    child = {"recipes": ["one"], "parameters": {"folder": "{folder}", "guid": "child-of-{guid}"}}
    merged = {"recipes": ["one", "two"], "custom_recipe": effect("three"), "parameters": {"folder": "{folder}"}}
    brought_along = {"recipes": ["mimas"], "parameters": {"folder": "{folder}"}}
    nothing = {"recipes": [], "parameters": {}}
    recipes = {
        "one": effect("one", {"guid": "{guid}", "folder": "{folder}"}),
        "two": effect("two"),
        "mimas": effect("mimas"),  # which a site has brought along from Zocalo
        "parent": starting(child, merged, brought_along, nothing),
    }
    # What is filled into the parent's message is the child's custom recipe, too: that keeps its own placeholders
    recipes["parent"]["start"][1][1] = json.loads(json.dumps(merged).replace('"{folder}"', '"{{folder}}"', 1))
    with site_of_recipes(Site, folder, recipes) as site:
        yield site


def effects(folder: Path) -> Counter[str]:
    return Counter(file.name.split(".")[0] for file in folder.glob("*.effect"))


def test_guid_of_a_message_is_its_runs_recipe_id_everywhere(site: Site, tmp_path: Path) -> None:
    gate = tmp_path / "one.before"
    gate.touch()
    run = site.start("one", folder=str(tmp_path), guid=GUID)
    await_(gate.with_suffix(".reached").exists)
    under_way = json.loads(site.plaza("show", GUID, "--json").stdout)
    assert (under_way["recipe_run"], under_way["recipe_ID"], under_way["is_at_work"]) == (run, GUID, True)
    gate.unlink()
    assert site.await_end(run) == "Completed: 1 step done"
    for name in (GUID, GUID[:14], "beamlinei034711", run):
        shown = json.loads(site.plaza("show", name, "--json").stdout)
        assert shown["recipe_run"] == run
        [message] = shown["messages"]
        assert message["payload"]["guid"] == "beamlinei034711"
        assert shown["manifest"]["recipe_id"] == GUID
        assert shown["manifest"]["parameters"]["guid"] == "beamlinei034711"
    lines = [json.loads(line) for line in site.plaza("logs", GUID, "--json").stdout.splitlines()]
    assert {(line["recipe_ID"], line["recipe_run"]) for line in lines} == {(GUID, run)}
    assert any("one begins with" in line["message"] for line in lines)
    assert f"guid:{GUID}" in site.flow_run(run).tags
    resumed = site.plaza("resume", GUID)
    assert "is Completed: nothing is left to do" in resumed.stdout, resumed.stderr


def test_dead_letters_are_found_by_the_recipe_id(site: Site, tmp_path: Path) -> None:
    custom = effect("poisoned", "poison")
    assert site.await_end(kept_and_started(site, custom, tmp_path, guid="guid-of-poison")).startswith("Failed")
    listed = site.plaza("dlq", "list", "--run", "guid-of-poison", "--json")
    [letter] = [json.loads(line) for line in listed.stdout.splitlines()]
    assert (letter["recipe"], letter["environment"]) == ("custom recipe", {"ID": "guid-of-poison"})
    shown = site.plaza("dlq", "show", f"guid-of-poison-{letter['number']}", "--json")
    assert json.loads(shown.stdout)["id"] == letter["id"]


def kept_and_started(site: Site, custom: dict[str, Any], folder: Path, *recipes: str, **parameters: Any) -> str:
    """Keep a custom recipe, as who asks for it does, and start it with others; return the run's id."""
    from hashlib import sha256

    text = json.dumps(custom, indent=2)
    name = sha256(text.encode()).hexdigest()
    kept = site.settings.home / "custom-recipes" / f"{name}.json"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(text)
    parameters = {"folder": str(folder), **parameters}
    return site.start_at("merged-recipe/live", recipes=list(recipes), custom_recipe=name, parameters=parameters)


def test_merged_run_that_is_killed_goes_on_by_the_recipe_it_began_with(site: Site, tmp_path: Path) -> None:
    gate = tmp_path / "two.before"
    gate.touch()
    run = kept_and_started(site, effect("custom"), tmp_path, "one", "two")
    reached = gate.with_suffix(".reached")
    await_(reached.exists)
    await_(lambda: effects(tmp_path) == {"custom": 1, "one": 1})
    os.kill(int(reached.read_text()), signal.SIGKILL)
    gate.unlink()
    for kept in (site.settings.home / "custom-recipes").glob("*.json"):
        kept.rename(kept.with_suffix(".away"))  # what has begun needs it no more
    resumed = site.plaza("resume", run, "--wait", "--timeout", "120")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert effects(tmp_path) == {"custom": 1, "one": 1, "two": 1}
    manifest = site.history(run)["manifest"]
    assert manifest["recipe"] == merged_name(["one", "two"], "custom") == "custom recipe + one + two"
    assert [manifest["filled"][number]["parameters"]["name"] for number in "123"] == ["custom", "one", "two"]
    assert site.flow_run(run).name == "custom recipe + one + two"


def test_step_starts_runs_and_they_know_each_other(site: Site, tmp_path: Path) -> None:
    parent = site.start("parent", folder=str(tmp_path), guid="the-parent")
    assert "nothing to run" in site.await_end(parent)  # of the last message; the others start theirs
    children = site.children(parent)
    assert [child.what for child in children] == ["one", "custom recipe + one + two", "mimas"]
    assert [child.recipe_id for child in children] == [
        "child-of-the-parent",
        *(child.flow_run for child in children[1:]),
    ]
    for child in children:
        assert site.await_end(child.flow_run).startswith("Completed"), child
        run = site.flow_run(child.flow_run)
        assert f"parent:{parent}" in run.tags
        assert run.parent_task_run_id is not None
        assert site.history(child.flow_run)["parent"] == parent
        assert f"recipe run {parent} (recipe ID the-parent)" in site.plaza("show", child.flow_run).stdout
    assert effects(tmp_path) == {"one": 2, "two": 1, "three": 1, "mimas": 1}
    shown = site.plaza("show", "the-parent").stdout
    assert "has started  one: flow run" in shown
    assert "(recipe ID child-of-the-parent), by node 1" in shown
    assert "recipe ID the-parent has started one: recipe ID child-of-the-parent" in site.plaza("logs", parent).stdout
    # Taken up again, what was refused is refused again, and what was started isn't started once more
    assert site.plaza("resume", parent, "--wait", "--timeout", "120").returncode == 1
    assert site.children(parent) == children


def test_run_that_is_killed_while_it_waits_goes_on_waiting(site: Site, tmp_path: Path) -> None:
    dcid = site.simulate("rotation", "--images", "1")
    engine = open_engine(f"sqlite:///{site.settings.home}/ispyb.sqlite")
    set_run_status(engine, dcid, None)
    waiting = {"ispyb_wait_for_runstatus": "1", "dispatcher_timeout": "600", "guid": "the-waiting-one"}
    run = site.start("one", folder=str(tmp_path), ispyb_dcid=dcid, **waiting)

    def waits() -> list[int]:
        lines = site.plaza("logs", "the-waiting-one", "--json").stdout.splitlines()
        return [line["pid"] for line in map(json.loads, lines) if line["message"].startswith("waits 600 s")]

    [pid] = await_(waits)
    os.kill(pid, signal.SIGKILL)
    assert site.plaza("resume", "the-waiting-one").returncode == 0
    await_(lambda: len(waits()) == 2)
    set_run_status(engine, dcid, "DataCollection Successful")
    assert site.await_end(run) == "Completed: 1 step done"
    assert effects(tmp_path) == {"one": 1}
    directory = site.history(run)["manifest"]["parameters"]["ispyb_results_directory"]
    assert directory.endswith("/the-waiting-one")


def set_run_status(engine: Engine, dcid: int, status: str | None) -> None:
    chosen = update(DataCollection).where(DataCollection.dataCollectionId == dcid)
    with transaction(engine) as connection:
        connection.execute(chosen.values(runStatus=status))
