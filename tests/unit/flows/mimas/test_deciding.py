"""What is decided on a data collection of this site, of another's, and of a beamline that nobody knows."""

import time

import pytest

from blocks.settings import Settings, get_settings
from flows.cluster_statistics import note_statistics
from flows.mimas.deciding import decide_on
from flows.mimas.scenario import Event
from tasks.ispyb_access.reading.parameters import DispatcherParameters
from tests.support.collection_facts import KNOWN


@pytest.fixture
def decide(tmp_path):
    get_settings.cache_clear()

    def decide(given=None, settings=None, **facts):
        collection = DispatcherParameters(**{**KNOWN, **facts})
        return decide_on(collection, Event.END, given or {}, Settings(home=tmp_path, **(settings or {})))

    return decide


def test_a_collection_of_a_beamline_that_is_served_is_decided_on(decide):
    for served in ((), ("i03",), ("i04", "i03")):
        record = decide(settings={"beamlines": served})
        assert record.recipes
        assert (record.faults, record.warnings) == ((), ())


def test_of_another_beamline_nothing_is_asked_for_and_it_is_said_what_to_do(decide):
    record = decide(settings={"beamlines": ["i04", "i24"]})
    assert (record.recipes, record.jobs, record.rules) == ((), (), ())
    (fault,) = record.faults
    assert "of beamline i03, which this site doesn't serve: expected one of i04, i24 (PLAZA_BEAMLINES)" in fault


def test_a_beamline_that_no_rule_knows_is_warned_of(decide):
    record = decide(beamline="i99")
    assert (record.recipes, record.faults) == ((), ())
    assert "no rule knows beamline 'i99'" in record.warnings[0]
    assert record.rules


@pytest.mark.parametrize(
    ("given", "is_warned"),
    [
        ({"ispyb_beamline": "i04"}, True),
        ({"beamline": "i04"}, True),
        ({"beamline": " I03 "}, False),
        ({"beamline": 3}, False),
        ({"colour": "i04"}, False),
    ],
)
def test_an_event_that_names_another_beamline_is_decided_by_ispyb_s(decide, given, is_warned):
    record = decide(given)
    assert record.scenario.beamline == "i03"
    assert record.given == given
    assert [("rules go by ISPyB's" in warning) for warning in record.warnings] == [True] * is_warned


def test_what_nobody_prefers_goes_to_the_cloud_while_there_is_room(decide, tmp_path):
    now = {"statistic-timestamp": time.time()}
    for cluster, waiting in (("slurm", 61), ("iris", 0)):
        note_statistics({"statistic": "job-states", "statistic-cluster": cluster, "PENDING": waiting, **now}, tmp_path)
    note_statistics({"statistic": "used-storage", "statistic-cluster": "s3echo", "total": 1, **now}, tmp_path)
    groups = {"cloudbursting": True, "cloud_groups": [{"visit_pattern": "cm", "beamlines": ["i03"]}]}

    def clusters(record):
        return {
            job.display_name: {variable.value for variable in job.trigger_variables}
            for job in record.jobs
            if job.display_name in {"xia2 dials", "xia2 3dii", "autoPROC"}
        }

    assert clusters(decide(settings=groups)) == {"xia2 dials": {"iris"}, "xia2 3dii": set(), "autoPROC": {"iris"}}
    assert not any(clusters(decide()).values())


def test_odd_rules_of_the_site_cost_no_more_than_themselves(decide, tmp_path, monkeypatch):
    (tmp_path / "rules.py").write_text(
        "import asyncio\n"
        "from flows.mimas.decision import Rule\n"
        "from flows.mimas.predicates import Predicate, Verdict, beamline_is\n"
        "from flows.mimas.rules.asking import recipes\n"
        "class OnOne(Predicate):\n"
        "    beamlines = ('i03',)\n"
        "    def judge(self, scenario): return Verdict(True, 'asked', reasons=(3,))\n"
        "def gives_up(scenario): raise asyncio.CancelledError\n"
        "RULES = (Rule('odd', OnOne(), recipes('odd-one')), Rule('lost', beamline_is('i03'), gives_up))\n"
    )
    before = decide()
    monkeypatch.setenv("PLAZA_MIMAS_RULES", str(tmp_path / "rules.py"))
    get_settings.cache_clear()
    record = decide()
    assert [one.recipe for one in record.recipes] == [*(one.recipe for one in before.recipes), "odd-one"]
    assert record.jobs == before.jobs
    assert record.faults == ("rule 'lost' raised CancelledError (rules.py, line 8)",)
    beamlines, reasons = record.warnings
    assert "rule 'odd' counts, but can't say for which beamlines it is" in beamlines
    assert reasons.startswith("rule 'odd' can't be explained: it raised AttributeError")
    get_settings.cache_clear()
