"""Mimas's own recipe file, as Zocalo's sites have it, on a real Prefect server and a real ISPyB."""

import json

import pytest

from blocks.settings import get_settings
from flows.mimas.backlog import Backlog
from flows.mimas.flow import mimas
from flows.recipe.check.placeholder_sources import PlaceholderSources
from flows.recipe.check.recipe import check_file
from flows.recipe.flow import recipe_flow
from flows.run_marks import parent_of
from tasks.ispyb_access.overviews.jobs import list_jobs
from tests.support.recipe_runs import recipe_runs_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server", "installed")]

OF_FRAMES = ("filename", "message_index", "number_of_frames", "start_frame_index")
RECIPE = {
    "1": {
        "service": "DLS Mimas",
        "queue": "mimas",
        "parameters": {
            "dcid": "{ispyb_dcid}",
            "event": "{event}",
            "dc_class": "{$REPLACE:ispyb_dc_class}",
            "beamline": "{ispyb_beamline}",
            "visit": "{ispyb_visit}",
            "run_status": "{ispyb_dc_info[runStatus]}",
            "sweep_list": "{$REPLACE:ispyb_related_sweeps}",
            "unit_cell": "{$REPLACE:ispyb_unit_cell}",
            "space_group": "{ispyb_space_group}",
            "diffraction_plan_info": "{$REPLACE:ispyb_diffraction_plan}",
            "preferred_processing": "{ispyb_preferred_processing}",
            "detectorclass": "{ispyb_detectorclass}",
            **{name: f"{{{name}}}" for name in OF_FRAMES},
        },
        "output": {"dispatcher": 2, "ispyb": 3},
    },
    "2": {"service": "DLS Dispatcher", "queue": "processing_recipe"},
    "3": {
        "service": "DLS ISPyB connector",
        "queue": "ispyb_connector",
        "parameters": {"ispyb_command": "create_ispyb_job"},
        "output": {"trigger": 4, "held": 5},
    },
    "4": {"service": "DLS Dispatcher", "queue": "processing_recipe"},
    "5": {"service": "DLS Mimas Backlog", "queue": "mimas.held", "output": 6},
    "6": {"service": "DLS Dispatcher", "queue": "processing_recipe"},
    "start": [[1, []]],
}


@pytest.fixture
def recipe_file(tmp_path, ispyb, monkeypatch):
    folder = tmp_path / "recipes"
    folder.mkdir()
    monkeypatch.setenv("PLAZA_RECIPE_DIRECTORY", str(folder))  # what isn't installed isn't there either
    get_settings.cache_clear()
    file = folder / "mimas-of-zocalo.json"
    file.write_text(json.dumps(RECIPE))
    return file


@pytest.fixture
def run_recipe(recipe_file):
    """Run the recipe as Zocalo's dispatcher would for a message of Mimas's: the message's parameters fill it in."""

    async def run(dcid, **parameters):
        state = await recipe_flow("mimas-of-zocalo", recipe_file)(dcid=dcid, parameters=parameters, return_state=True)
        return state, str(state.state_details.flow_run_id)

    return run


def recipes_of(runs):
    return sorted(run.name.partition(" · ")[0] for run in runs if "mimas" not in run.name)


async def test_end_starts_recipes_and_jobs_and_holds_the_others(run_recipe, collection, ispyb):
    dcid = collection("Eiger2 X CdTe 9M", runStatus="DataCollection Successful")
    state, run = await run_recipe(dcid, event="end")
    # A job is one for ISPyB, whose recipe isn't installed here; recipes that aren't are none
    assert state.message.count("refused") == 1
    assert "the recipe 'ispyb-autoprocessing-xia2-dials-eiger' is unknown" in state.message
    launched = [found for found in await recipe_runs_of(dcid) if parent_of(found.tags) == run]
    assert recipes_of(launched) == ["archive-nexus", "ispyb-autoprocessing-fast-dp-eiger"]
    jobs = {job.display_name: job for job in list_jobs(ispyb, dcid)}
    assert set(jobs) == {"fast_dp", "xia2 dials", "xia2 3dii", "autoPROC"}
    held = {job.job_id: job for job in Backlog.of().held()}
    assert set(held) == {jobs["xia2 3dii"].id, jobs["autoPROC"].id}
    assert {job.beamline for job in held.values()} == {"i24"}

    # The same event again, and by Plaza's own way
    await run_recipe(dcid, event="end")
    outcome = await mimas(dcid=dcid, event="end")
    assert recipes_of(await recipe_runs_of(dcid)) == recipes_of(launched)
    assert {job.display_name: job.id for job in list_jobs(ispyb, dcid)} == {name: job.id for name, job in jobs.items()}
    assert len(Backlog.of().held()) == 2
    assert all(run.earlier for run in outcome.launched)


async def test_start_passes_on_what_dodal_sends(run_recipe, collection):
    dcid = collection("Pilatus3 6M", grid=True)
    frames = {"filename": None, "message_index": 0, "number_of_frames": 20, "start_frame_index": 0}
    state, _ = await run_recipe(dcid, event="start", **frames)
    assert state.is_completed()
    runs = await recipe_runs_of(dcid)
    assert recipes_of(runs) == ["archive-cbfs", "per-image-analysis-gridscan"]
    given = next(run for run in runs if "gridscan" in run.name).parameters["parameters"]
    assert {name: given[name] for name in OF_FRAMES[1:]} == {name: str(frames[name]) for name in OF_FRAMES[1:]}


async def test_an_event_that_is_none_is_a_dead_letter(run_recipe, collection):
    dcid = collection("Pilatus3 6M", grid=True)
    state, _ = await run_recipe(dcid, event="middle")
    assert state.is_failed()
    assert "event: expected one of start, end" in state.message
    assert recipes_of(await recipe_runs_of(dcid)) == []


def test_it_is_checked_without_a_complaint(recipe_file):
    assert list(check_file(recipe_file, PlaceholderSources())) == []
