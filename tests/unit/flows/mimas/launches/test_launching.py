"""What Mimas decided is launched: results first, each once, and a recipe that can't be launched stops no other."""

from uuid import UUID

import pytest

from blocks.errors import DatabaseUnavailable
from blocks.retrying import Pauses
from flows.mimas.launches.launching import launch_decided
from flows.mimas.record import DecisionRecord
from flows.mimas.record.outcome import CreatedJob
from flows.mimas.rules import decide
from flows.mimas.scenario import DCClass, DetectorClass, Event, ImageRange, Scenario
from tests.support.fake_resources import FakeLauncher, FakeResources

ARCHIVE, ANALYSIS = "archive-nexus", "per-image-analysis-rotation-swmr"
MIMAS_RUN = UUID(int=7)


@pytest.fixture
def decision():
    sweeps = (ImageRange(12, 1, 50),)
    decision = decide(
        Scenario(12, DCClass.ROTATION, Event.END, "i03", detector_class=DetectorClass.EIGER, sweeps=sweeps)
    )
    assert {ARCHIVE, ANALYSIS} < {invocation.recipe for invocation in decision.recipes}
    return decision


def record(decision, given=None):
    """Make the record of the recipes alone: the jobs' aren't installed."""
    return DecisionRecord.of(decision, given)


@pytest.fixture
def launcher():
    return FakeLauncher([ARCHIVE, ANALYSIS])


async def test_installed_recipes_are_launched_with_what_the_event_brought_results_first(decision, launcher):
    outcome = await launch_decided(record(decision, {"colour": "red"}), MIMAS_RUN, FakeResources(launcher=launcher))
    assert [launched.recipe for launched in launcher.launched] == [ANALYSIS, ARCHIVE]
    analysis = launcher.launched[0]
    assert (analysis.dcid, analysis.parameters, analysis.read_by) == (12, {"colour": "red"}, MIMAS_RUN)
    assert analysis.name == f"{ANALYSIS} · dcid 12 · i03"
    assert {launched.recipe for launched in outcome.launched} == {ANALYSIS, ARCHIVE}
    assert outcome.failed == ()
    others = {invocation.recipe for invocation in decision.recipes} - launcher.recipes
    assert others < set(outcome.not_installed)


async def test_the_same_event_twice_launches_once_and_other_parameters_launch_anew(decision, launcher):
    resources = FakeResources(launcher=launcher)
    first = await launch_decided(record(decision), MIMAS_RUN, resources)
    again = await launch_decided(record(decision), MIMAS_RUN, resources)
    assert len(launcher.launched) == 2
    assert [run.flow_run_id for run in again.launched] == [run.flow_run_id for run in first.launched]
    assert all(run.earlier for run in again.launched)
    await launch_decided(record(decision, {"colour": "red"}), MIMAS_RUN, resources)
    assert len({launched.key for launched in launcher.launched}) == 4


async def test_a_recipe_that_cannot_be_launched_stops_no_other(decision, launcher):
    launcher.broken[ANALYSIS] = "409: conflict"
    outcome = await launch_decided(record(decision), MIMAS_RUN, FakeResources(launcher=launcher))
    assert [(fault.recipe, fault.reason) for fault in outcome.failed] == [(ANALYSIS, "409: conflict")]
    assert [launched.recipe for launched in outcome.launched] == [ARCHIVE]


@pytest.fixture
def short_outages(monkeypatch):
    monkeypatch.setattr("flows.prefect_outages.PAUSES", Pauses(0.01, 0.01))
    monkeypatch.setattr("flows.prefect_outages.PATIENCE_S", 0.5)


@pytest.mark.usefixtures("short_outages")
async def test_an_outage_that_passes_is_waited_for(decision, launcher):
    launcher.outages.update({ANALYSIS: 3, FakeLauncher.INSTALLED: 3})
    outcome = await launch_decided(record(decision), MIMAS_RUN, FakeResources(launcher=launcher))
    assert outcome.failed == ()
    assert {launched.recipe: launched.earlier for launched in outcome.launched} == {ANALYSIS: False, ARCHIVE: False}


@pytest.mark.usefixtures("short_outages")
async def test_an_outage_that_lasts_at_one_launch_loses_no_other(decision, launcher):
    launcher.outages[ANALYSIS] = 10**6
    resources = FakeResources(launcher=launcher)
    outcome = await launch_decided(record(decision), MIMAS_RUN, resources)
    assert [(fault.recipe, fault.reason) for fault in outcome.failed] == [
        (ANALYSIS, "PrefectUnavailable: Prefect's API can't be reached")
    ]
    assert [launched.recipe for launched in outcome.launched] == [ARCHIVE]
    del launcher.outages[ANALYSIS]
    retried = await launch_decided(record(decision), MIMAS_RUN, resources)
    assert retried.failed == ()
    assert {launched.recipe: launched.earlier for launched in retried.launched} == {ANALYSIS: False, ARCHIVE: True}


@pytest.mark.usefixtures("short_outages")
async def test_once_an_outage_has_lasted_each_other_launch_is_tried_once(decision, launcher):
    launcher.outages.update({ANALYSIS: 10**6, ARCHIVE: 10**6})
    outcome = await launch_decided(record(decision), MIMAS_RUN, FakeResources(launcher=launcher))
    assert {fault.recipe for fault in outcome.failed} == {ANALYSIS, ARCHIVE}
    assert 10**6 - launcher.outages[ARCHIVE] == 1


async def test_with_ispyb_away_the_recipes_run_and_no_other_job_waits_for_it(decision, launcher, monkeypatch):
    asked = []

    async def carry_out(resources, launcher, job, scenario, read_by):
        asked.append(job.display_name)
        if len(asked) == 2:
            raise DatabaseUnavailable("ISPyB can't be reached")
        return CreatedJob(job_id=1)

    monkeypatch.setattr("flows.mimas.launches.jobs.carry_out", carry_out)
    launcher.recipes |= {f"ispyb-{job.recipe}" for job in decision.jobs}
    outcome = await launch_decided(record(decision), MIMAS_RUN, FakeResources(launcher=launcher))
    assert len(asked) == 2
    assert {launched.recipe for launched in outcome.launched} == {ANALYSIS, ARCHIVE}
    assert outcome.interrupted == "ISPyB can't be reached"
    assert len(outcome.failed) == len(decision.jobs) - 1
    assert outcome.jobs[0].job_id == 1
