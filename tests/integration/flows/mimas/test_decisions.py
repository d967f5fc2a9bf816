"""A decision is carried out whole, once: killed half-way, from two machines at once, with rules that are broken."""

import os
import signal
import subprocess
import sys

import pytest
from ispyb.sqlalchemy import DataCollection
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL
from prefect.states import Scheduled
from sqlalchemy import update

from blocks.ispyb_connection import transaction
from blocks.settings import get_settings
from flows.mimas.backlog import Backlog
from flows.mimas.flow import mimas
from flows.mimas.record import mimas_run_folder
from flows.mimas.record.publishing import read_outcome_of_run
from flows.mimas.record.showing import mimas_run_text
from flows.recipe.run_record.recipe_ids import runs_called
from tasks.ispyb_access.overviews.jobs import list_jobs
from tests.support.recipe_runs import recipe_runs_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server", "installed")]

ROTATION = "Eiger2 X CdTe 9M"
STARTED = {"archive-nexus", "ispyb-autoprocessing-fast-dp-eiger"}
JOBS = {"fast_dp", "autoPROC"}


async def flow_run(dcid, event="end", **parameters):
    """Create a run of Mimas that no worker starts."""
    async with get_client() as client:
        flow = await client.create_flow_from_name("mimas")
        deployment = await client.create_deployment(flow, name="decisions")
        run = await client.create_flow_run_from_deployment(
            deployment, parameters={"dcid": dcid, "event": event, **parameters}
        )
    return run.id


def start(run, *killed_at):
    command = [sys.executable, "-m", "tests.support.mimas_process", str(run), *map(str, killed_at)]
    environment = {**os.environ, "PREFECT_API_URL": PREFECT_API_URL.value()}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def go(*processes):
    """Let processes that are ready start together, and return how they ended."""
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=120)
    return [process.returncode for process in processes]


async def state_of(run):
    async with get_client() as client:
        return (await client.read_flow_run(run)).state


async def take_up(run):
    async with get_client() as client:
        await client.set_flow_run_state(run, Scheduled(name="AwaitingRetry"), force=True)
    return start(run)


def recipe_of(run):
    return run.name.partition(" · ")[0]


@pytest.mark.parametrize("done", [1, 2])
async def test_a_run_that_is_killed_half_way_carries_out_what_it_had_decided(collection, ispyb, done):
    dcid = collection(ROTATION)
    run = await flow_run(dcid)
    assert go(start(run, done)) == [-signal.SIGKILL]
    decided = mimas_run_folder(run).read()
    assert decided.outcome is None
    assert "decided, but not (yet) launched to the end" in mimas_run_text(str(run))
    with transaction(ispyb) as connection:  # it's a grid scan now, of which nothing would be processed
        connection.execute(update(DataCollection).values(overlap=None, axisRange=None, numberOfImages=20))
    assert go(await take_up(run)) == [0]
    assert (await state_of(run)).is_completed()
    assert {recipe_of(launched) for launched in await recipe_runs_of(dcid)} == STARTED
    assert len(await recipe_runs_of(dcid)) == 2
    assert {job.display_name for job in list_jobs(ispyb, dcid)} == JOBS
    carried_out = mimas_run_folder(run).read()
    assert carried_out.model_copy(update={"outcome": None}) == decided
    assert carried_out.outcome == await read_outcome_of_run(run)


async def test_the_same_event_from_two_machines_at_once_gives_each_run_and_each_job_once(collection, ispyb):
    dcid = collection(ROTATION)
    runs = [await flow_run(dcid, event) for event in ("end", "end", "end")]
    assert go(*(start(run) for run in runs)) == [0, 0, 0]
    for run in runs:
        assert (await state_of(run)).is_completed()
    assert sorted(recipe_of(launched) for launched in await recipe_runs_of(dcid)) == sorted(STARTED)
    jobs = list_jobs(ispyb, dcid)
    assert sorted(job.display_name for job in jobs) == sorted(JOBS)
    outcomes = [await read_outcome_of_run(run) for run in runs]
    assert len({tuple(job.job_id for job in outcome.jobs) for outcome in outcomes}) == 1
    (held,) = Backlog.of().held()
    assert (held.dcid, held.beamline, held.recipe) == (dcid, "i24", "autoprocessing-autoPROC-eiger")


async def test_the_end_may_come_before_the_start(collection):
    dcid = collection("Pilatus3 6M", grid=True)
    for event in ("end", "start", "end", "start"):
        await mimas(dcid=str(dcid), event=event)
    assert sorted(recipe_of(run) for run in await recipe_runs_of(dcid)) == [
        "archive-cbfs",
        "per-image-analysis-gridscan",
    ]


RULE_FILE = """
from flows.mimas.decision import Rule
from flows.mimas.predicates import beamline_is
from flows.mimas.scenario import RecipeInvocation

def ask(scenario):
    {body}

RULES = (Rule("archive twice", beamline_is("i24"), ask),)
SWITCHED_OFF = ("quick processing",)
"""


async def test_a_rule_that_raises_fails_the_run_and_nothing_else_until_it_is_mended(
    collection, ispyb, tmp_path, monkeypatch
):
    rules = tmp_path / "rules.py"
    rules.write_text(RULE_FILE.format(body="raise KeyError('sample')"))
    monkeypatch.setenv("PLAZA_MIMAS_RULES", str(rules))
    get_settings.cache_clear()
    dcid = collection(ROTATION)
    run = await flow_run(dcid)
    assert go(start(run)) == [0]
    state = await state_of(run)
    assert state.is_failed()
    for part in ("rule 'archive twice'", "KeyError", "'sample'", f"plaza resume {run}", "decides anew"):
        assert part in state.message
    assert {recipe_of(launched) for launched in await recipe_runs_of(dcid)} == {"archive-nexus"}
    assert {job.display_name for job in list_jobs(ispyb, dcid)} == {"autoPROC"}
    outcome = await read_outcome_of_run(run)
    assert "KeyError" in outcome.faults[0]
    assert "KeyError" in mimas_run_text(str(run))

    rules.write_text(RULE_FILE.format(body="return [RecipeInvocation(scenario.dcid, 'archive-cbfs')]"))
    assert go(await take_up(run)) == [0]
    assert (await state_of(run)).is_completed()
    assert sorted(recipe_of(launched) for launched in await recipe_runs_of(dcid)) == ["archive-cbfs", "archive-nexus"]
    assert len(list_jobs(ispyb, dcid)) == 1


async def test_an_event_of_a_beamline_that_is_not_served_launches_nothing_and_says_so(collection, monkeypatch):
    monkeypatch.setenv("PLAZA_BEAMLINES", '["i03", "i04"]')
    get_settings.cache_clear()
    dcid = collection("Pilatus3 6M", grid=True)
    state = await mimas(dcid=dcid, event="start", return_state=True)
    assert state.is_failed()
    assert "is of beamline i24, which this site doesn't serve: expected one of i03, i04" in state.message
    assert await recipe_runs_of(dcid) == []
    outcome = await read_outcome_of_run(state.state_details.flow_run_id)
    assert "doesn't serve" in outcome.faults[0]


async def test_an_event_that_names_another_beamline_than_ispyb_is_warned_of(collection):
    dcid = collection("Pilatus3 6M", grid=True)
    outcome = await mimas(dcid=dcid, event="start", parameters={"ispyb_beamline": "i04"})
    assert len(outcome.launched) == 2
    assert "the event's ispyb_beamline is 'i04', but in ISPyB" in outcome.warnings[0]


@pytest.mark.usefixtures("ispyb")
async def test_a_run_is_found_by_the_recipe_id_of_its_event(collection):
    dcid = collection("Pilatus3 6M", grid=True)
    state = await mimas(dcid=dcid, event="start", guid="../my guid", return_state=True)
    run = state.state_details.flow_run_id
    assert runs_called("../my guid")[0] == runs_called("myguid")[0] == [str(run)]
    async with get_client() as client:
        assert "guid:../my guid" in (await client.read_flow_run(run)).tags
    text = mimas_run_text(str(run))
    assert text.splitlines()[:2] == [
        f"Start of data collection {dcid}: grid scan on i24, Pilatus",
        f"run of Mimas {run}, recipe ID ../my guid",
    ]
    assert "  archive-cbfs: launched, run " in text
    assert '"recipe_run": "../my guid"' in mimas_run_folder(run).log.read_text().splitlines()[0]


async def test_what_is_not_ready_in_time_goes_to_the_error_queue(collection, monkeypatch):
    sent = []

    async def send_to_queue(queue, message, resources, **_more):
        sent.append((queue, message))
        return "sent"

    monkeypatch.setattr("flows.recipe.readiness.send_to_queue", send_to_queue)
    dcid = collection("Pilatus3 6M", grid=True, runStatus=None)
    state = await mimas(
        dcid=dcid,
        event="end",
        wait_for_run_status=True,
        run_status_timeout=0,
        parameters={"colour": "red"},
        guid="G-1",
        error_queue="errors",
        return_state=True,
    )
    assert (state.name, state.is_completed()) == ("NotReady", True)
    ((queue, message),) = sent
    expiration = message["parameters"].pop("dispatcher_expiration")
    assert expiration > 0
    assert (queue, message["recipes"]) == ("errors", ["mimas"])
    assert message["parameters"] == {
        "colour": "red",
        "ispyb_dcid": dcid,
        "event": "end",
        "guid": "G-1",
        "ispyb_wait_for_runstatus": 1,
        "dispatcher_timeout": 0,
        "dispatcher_error_queue": "errors",
    }
