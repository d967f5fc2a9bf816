"""What `plaza deploy --check` finds, and that the deployments that we ship are whole."""

from __future__ import annotations

import json
import os
import re

import pytest

from blocks.errors import ConfigurationError
from blocks.settings import CHECKOUT, get_settings
from flows.deploying.apply import DEPLOYMENTS
from flows.deploying.check import find_problems
from flows.deploying.files import read_deployment_files
from flows.recipe.check.problem import validate_file
from flows.recipe.check.recipe import check_file
from flows.recipe.language.names import OWN_FLOWS
from tests.support.recipe_names import BAD_NAMES

MAIL = {"recipients": "a@example.org", "from": "b@example.org", "subject": "c", "content": "d"}
SOUND = json.dumps({"1": {"queue": "mailnotification", "parameters": MAIL}, "start": [[1, []]]})
POOLS = """
pools:
  - {name: plaza, type: warm, queues: [{name: live, priority: 1}]}
"""
PROJECT = """
name: trial
pull: []
deployments:
  - name: trial
    entrypoint: checked_flows.work
    parameters: {dcid: 1}
    schedules:
      - {slug: nightly, cron: "0 3 * * *", timezone: Europe/London}
    triggers:
      - name: work on tea
        expect: [tea.made]
        match: {prefect.resource.id: tea.*}
        parameters: {dcid: "{{ event.payload.dcid }}"}
    work_pool: {name: plaza, work_queue_name: live}
"""
FLOWS = """
from prefect import flow

@flow
async def work(dcid: int) -> None:
    pass
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "prefect.yaml").write_text(PROJECT)
    (tmp_path / "work_pools.yaml").write_text(POOLS)
    (tmp_path / "checked_flows.py").write_text(FLOWS)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_all_that_we_deploy_resolves():
    assert find_problems(DEPLOYMENTS, CHECKOUT / "recipes") == []


def test_every_recipe_file_gets_a_deployment_of_its_name():
    recipes = CHECKOUT / "recipes"
    planned = {plan.entrypoint for plan in read_deployment_files(DEPLOYMENTS, recipes).deployments}
    assert {f"flows.recipe.catalogue.{file.stem}" for file in recipes.glob("*.json")} < planned


def test_sound_files_have_no_faults(folder):
    assert find_problems(folder, folder) == []


@pytest.mark.parametrize(
    ("file", "before", "after", "fault"),
    [
        ("prefect.yaml", "checked_flows.work", "checked_flows.walk", "entrypoint checked_flows.walk"),
        ("prefect.yaml", "checked_flows.work", "no_such_module.work", "No module named 'no_such_module'"),
        ("prefect.yaml", "work_queue_name: live", "work_queue_name: dead", "queue 'dead' of pool 'plaza'"),
        ("prefect.yaml", "{name: plaza, work", "{name: square, work", "pool 'square'"),
        ("prefect.yaml", "dcid: 1", "dcid: 1, nonsense: 2", "unknown parameters: nonsense"),
        ("prefect.yaml", "dcid: 1", "'dcid': '{{ prefect.blocks.no-such-block.x }}'", "no block type 'no-such-block'"),
        ("prefect.yaml", "pull: []", "pull: [{run: {}}]", "pull"),
        ("prefect.yaml", "parameters:", "paramters:", "paramters"),
        ("prefect.yaml", "0 3 * * *", "0 25 * * *", "schedule 'nightly'"),
        ("prefect.yaml", "Europe/London", "Europe/Didcot", "schedule 'nightly'"),
        ("prefect.yaml", "slug: nightly, ", "", "slug"),
        ("prefect.yaml", "expect: [tea.made]", "expect: []", "expect"),
        ("prefect.yaml", "expect: [tea.made]", "expect: [tea.made]\n        threshold: 2", "threshold"),
        ("prefect.yaml", '{dcid: "{{ event', '{leaves: "{{ event', "'work on tea' sets unknown parameters: leaves"),
        (
            "prefect.yaml",
            'dcid: "{{ event.payload.dcid }}"',
            'dcid: {__prefect_kind: jinja, template: "{{ event."}',
            "'work on tea' has no template for dcid",
        ),
        ("work_pools.yaml", "type: warm", "type: lukewarm", "type 'lukewarm'"),
        ("work_pools.yaml", "priority: 1", "priority: 0", "priority"),
        ("work_pools.yaml", "pools:", "pools: {", "work_pools.yaml can't be used"),
    ],
)
def test_fault_is_named(folder, file, before, after, fault):
    text = (folder / file).read_text()
    assert before in text
    (folder / file).write_text(text.replace(before, after))
    assert fault in "\n".join(find_problems(folder, folder))


def test_missing_file_is_named(folder):
    (folder / "work_pools.yaml").unlink()
    (fault,) = find_problems(folder, folder)
    assert "work_pools.yaml is missing" in fault


@pytest.mark.parametrize(
    ("recipe", "fault"),
    [
        ('{"1": {"queue": "images", "output": 1}, "start": [[1, []]]}', "tried.json: node 1: cycle: 1 -> 1"),
        ('{"1": {"queue": "tea.making"}, "start": [[1, []]]}', "tried.json: node 1: unknown queue"),
        ('{"1": {"queue": "images", "parameters": {"file": "{x}"}}, "start": [[1, []]]}', "unknown placeholder"),
        ("{", "tried.json: not JSON"),
    ],
)
def test_faulty_recipe_is_named(folder, recipe, fault):
    (folder / "tried.json").write_text(recipe)
    assert fault in "\n".join(find_problems(folder, folder))


def test_declared_placeholder_is_known(folder):
    (folder / "tried.json").write_text(
        '{"1": {"queue": "images", "parameters": {"image_command": "diffraction", "file": "{x}"}}, "start": [[1, []]]}'
    )
    assert not any("unknown placeholder" in fault for fault in find_problems(folder, folder, declared=["x"]))


def test_flows_that_are_no_recipes_keep_their_names():
    found = {plan.load_flow().name for plan in read_deployment_files(DEPLOYMENTS, CHECKOUT / "recipes").from_project}
    assert found == OWN_FLOWS


@pytest.fixture
def misnamed(folder):
    """A folder of sound recipes whose files have bad names, beside one of a good name and what is no file."""
    for name in (*BAD_NAMES, "per.image.v2"):
        (folder / f"{name}.json").write_text(SOUND)
    (folder / "folder.json").mkdir()
    (folder / "nowhere.json").symlink_to(folder / "absent")
    os.mkfifo(folder / "pipe.json")
    return folder


def test_all_ways_refuse_the_same_files_for_the_same_reasons(misnamed):
    found = find_problems(misnamed, misnamed)
    plans = {plan.source.name: plan for plan in read_deployment_files(misnamed, misnamed).of_recipes}
    assert plans["per.image.v2.json"].fault is None
    refused = {name: plan for name, plan in plans.items() if plan.fault}
    assert refused.keys() == {*(f"{name}.json" for name in BAD_NAMES), "folder.json", "nowhere.json", "pipe.json"}
    for plan in refused.values():
        assert f"{plan.source}: {plan.fault}" in found
        with pytest.raises(ConfigurationError, match=re.escape(f"{plan.source}: {plan.fault}")):
            plan.load_flow()
        for check in (check_file, validate_file):
            assert plan.fault in [problem.what for problem in check(plan.source)]
    assert not [problem for problem in found if "per.image.v2.json" in problem and "can't be loaded" not in problem]


@pytest.mark.parametrize("text", ["[" * 100_000, SOUND.replace("[]", "9" * 5000), "{", "\0", '{"1": {}}'])
def test_what_is_no_recipe_is_not_deployed(folder, text):
    (folder / "tried.json").write_text(text)
    (folder / "link.json").symlink_to("/proc/kmsg")
    plans = {plan.source.name: plan for plan in read_deployment_files(folder, folder).of_recipes}
    assert {name for name, plan in plans.items() if plan.fault} == {"tried.json", "link.json"}
    assert all(plans[name].fault in "\n".join(find_problems(folder, folder)) for name in ("tried.json", "link.json"))


def test_rules_that_cannot_be_used_are_told(folder, monkeypatch):
    monkeypatch.setenv("PLAZA_MIMAS_RULES", str(folder / "checked_flows.py"))
    get_settings.cache_clear()
    (fault,) = find_problems(folder, folder)
    assert fault.startswith(f"rule file {folder}/checked_flows.py: expected RULES or SWITCHED_OFF in it")


def test_a_predicate_of_the_site_that_is_not_as_it_should_be_is_told(folder, monkeypatch):
    (folder / "rules.py").write_text(
        "from flows.mimas.decision import Rule\nfrom flows.mimas.predicates import Predicate\n"
        "class Mine(Predicate):\n    beamlines = ('i03',)\n"
        "RULES = (Rule('mine', Mine(), lambda scenario: ()),)\n"
    )
    monkeypatch.setenv("PLAZA_MIMAS_RULES", str(folder / "rules.py"))
    get_settings.cache_clear()
    (told,) = find_problems(folder, folder)
    assert told.startswith(f"rule file {folder}/rules.py: rule 'mine' counts, but can't say for which beamlines it is")
