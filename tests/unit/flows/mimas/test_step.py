"""Mimas as a step: its node's parameters in, messages for the dispatcher and for ISPyB out."""

import pytest

from blocks.settings import Settings
from flows.mimas import step as mimas_step
from flows.mimas.decision import Rule
from flows.mimas.predicates import beamline_is
from flows.mimas.rules.rule_set import RuleSet
from flows.mimas.scenario import RecipeInvocation
from flows.mimas.step import decide_on_collection
from flows.recipe.run_record.entries import Began
from flows.recipe.run_record.journal import Journal, read_journal
from flows.recipe.run_record.run_state import replay
from tests.support.engine_runs import Engine
from tests.support.fake_resources import FakeResources

START = {"dcid": "12", "event": "START", "dc_class": {"grid": True}, "beamline": "i03", "detectorclass": "pilatus"}
END = {
    "dcid": "12",
    "event": "end",
    "dc_class": {"grid": False, "screen": False, "rotation": True},
    "beamline": "i03",
    "visit": "cm12345-1",
    "run_status": "DataCollection Successful",
    "sweep_list": [[12, 1, 100]],
    "unit_cell": "False",
    "space_group": "P41212",
    "diffraction_plan_info": {"anomalousScatterer": "Se"},
    "preferred_processing": "xia2/DIALS",
    "detectorclass": "eiger",
}


class Site:
    """Runs a recipe of Mimas alone, and keeps what it sends."""

    def __init__(self, home):
        self.engine = Engine(FakeResources(Settings(home=home, beamlines=("i03", "i04"))))

    async def run(self, parameters, journal=None, state=None, **outputs):
        recipe = {
            1: {"queue": "mimas", "parameters": parameters, "output": {"dispatcher": 2, "ispyb": 3, **outputs}},
            2: {"queue": "keep"},
            3: {"queue": "keep"},
            "start": [[1, []]],
        }
        progress = await self.engine.run(recipe, decide_on_collection, journal=journal, state=state)
        return progress[1]

    @property
    def recipes(self):
        return [body["recipes"][0] for body in self.engine.kept.payloads if "recipes" in body]

    @property
    def jobs(self):
        return [body for body in self.engine.kept.payloads if "recipe" in body]


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


async def test_recipes_go_to_the_dispatcher_with_what_is_passed_on(site):
    await site.run(
        {
            **START,
            "filename": None,
            "message_index": "0",
            "number_of_frames": 12,
            "start_frame_index": "{start_frame_index}",
            "colour": 1,
        }
    )
    own = {"ispyb_dcid": 12, "filename": None, "message_index": "0", "number_of_frames": 12}
    assert site.engine.kept.payloads == [
        {"recipes": ["archive-cbfs"], "parameters": own},
        {"recipes": ["per-image-analysis-gridscan"], "parameters": own},
    ]


async def test_jobs_go_to_ispyb_with_all_their_fields(site):
    await site.run(END)
    assert "archive-nexus" in site.recipes
    assert all(body["parameters"] == {"ispyb_dcid": 12} for body in site.engine.kept.payloads if "recipes" in body)
    (job,) = [job for job in site.jobs if job["recipe"].startswith("autoprocessing-fast-dp")]
    assert job == {
        "DCID": 12,
        "autostart": True,
        "recipe": "autoprocessing-fast-dp-eiger",
        "source": "automatic",
        "comment": "",
        "displayname": "fast_dp",
        "parameters": [{"key": "spacegroup", "value": "P41212"}],
        "sweeps": [],
        "triggervariables": [],
    }
    assert len([job for job in site.jobs if job["displayname"] == "xia2 dials"]) == 2


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"dcid": "{ispyb_dcid}"}, "dcid: expected the data collection's number"),
        ({"event": "middle"}, "event: expected one of start, end"),
        ({"event": "{event}"}, "event: expected"),
        ({"sweep_list": [[12, 5, 1]]}, "sweep_list"),
        ({"beamline": "i24"}, "which this site doesn't serve: expected one of i03, i04"),
    ],
)
async def test_what_makes_no_scenario_is_refused(site, wrong, reason):
    progress = await site.run({**END, **wrong})
    assert site.engine.kept == []
    (refused,) = site.engine.refused
    assert reason in refused.error
    assert progress.fault


async def test_what_makes_no_sense_is_told_and_left_out(site, caplog):
    caplog.set_level("INFO")
    await site.run({**END, "space_group": "P9", "unit_cell": [1, 2, 3]})
    assert "space group 'P9'" in caplog.text
    assert "rules that matched" in caplog.text
    assert "preview: matched" in caplog.text
    assert len([job for job in site.jobs if job["displayname"] == "xia2 dials"]) == 1


async def test_a_fault_that_another_node_hears_of_is_noted(site, monkeypatch):
    def burst(scenario):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(mimas_step, "rules_in_force", lambda: RuleSet((Rule("b", beamline_is("i03"), burst),)))
    progress = await site.run(END, abort=3)
    assert not progress.fault
    [heard] = site.engine.kept.payloads
    assert "rule 'b' raised ZeroDivisionError" in heard["reason"]
    assert any("rule 'b' raised" in warning for warning in progress.notes.warnings())


async def test_what_a_broken_rule_leaves_out_is_sent_when_it_is_mended(site, monkeypatch, tmp_path):
    def burst(scenario):
        raise ZeroDivisionError("by zero")

    def ask(name):
        return lambda scenario: [RecipeInvocation(scenario.dcid, name)]

    def rules(middle):
        is_i03 = beamline_is("i03")
        return RuleSet((Rule("a", is_i03, ask("a")), Rule("b", is_i03, middle), Rule("c", is_i03, ask("c"))))

    monkeypatch.setattr(mimas_step, "rules_in_force", lambda: rules(burst))
    with Journal(tmp_path / "journal.jsonl") as journal:
        progress = await site.run(END, journal)
    assert site.recipes == ["a", "c"]
    assert progress.fault
    assert "has given up: not all rules could be asked: rule 'b' raised ZeroDivisionError" in progress.fault
    assert not progress.notes.lines()

    monkeypatch.setattr(mimas_step, "rules_in_force", lambda: rules(ask("b")))
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.record(Began.now())  # taken up again
        journal.flush()
        progress = await site.run(END, journal, replay(read_journal(tmp_path / "journal.jsonl")))
    assert site.recipes == ["a", "c", "b"]
    assert not progress.fault
    assert progress.notes.lines() == ["3 recipes asked for", "0 jobs asked for"]
