"""Mimas on a real Prefect server and a real ISPyB: events come in, recipes are launched."""

import asyncio
import json
from uuid import UUID

import pytest
from ispyb.sqlalchemy import DataCollection
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import Cancelled, Cancelling, Completed, Crashed, Failed, Late, Running
from sqlalchemy import insert, select, update

from blocks.ispyb_connection import transaction
from blocks.settings import get_settings
from flows.launching import PrefectLauncher
from flows.mimas.flow import mimas
from flows.mimas.record.publishing import read_outcome, read_outcome_of_run
from flows.recipe import ispyb_reading as reading
from flows.recipe.mimas_reading import find_reading
from flows.recipe.parameters import recipe_parameters
from flows.resources import SiteResources
from tasks.ispyb_access.overviews.jobs import list_jobs
from tasks.step.ports import Launch, LaunchedRecipe
from tests.support.recipe_runs import recipe_runs_of as runs_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]


@pytest.mark.usefixtures("installed")
async def test_grid_scan_start_launches_its_recipes(collection):
    dcid = collection("Pilatus3 6M", grid=True)
    outcome = await mimas(dcid=dcid, event="start")
    runs = {run.id: run for run in await runs_of(dcid)}
    assert [launched.recipe for launched in outcome.launched] == ["archive-cbfs", "per-image-analysis-gridscan"]
    assert {launched.flow_run_id for launched in outcome.launched} == set(runs)
    assert outcome.matched == ("Pilatus grid scan starts",)
    assert outcome.not_installed == ()
    assert {run.name for run in runs.values()} == {
        f"archive-cbfs · dcid {dcid} · i24",
        f"per-image-analysis-gridscan · dcid {dcid} · i24",
    }
    for run in runs.values():
        assert run.parameters["dcid"] == dcid
        assert run.parameters["parameters"] == {}
        read = find_reading(UUID(run.parameters["read_by"]), dcid)
        assert read.dc_info["gridinfo"]["steps_x"] == 5
        assert run.parent_task_run_id is not None


@pytest.mark.usefixtures("installed")
async def test_a_large_group_makes_no_large_parameters(collection, ispyb):
    dcid = collection("Eiger2 X CdTe 9M")
    with transaction(ispyb) as connection:
        columns = [column for column in DataCollection.__table__.c if column.name != "dataCollectionId"]
        row = connection.execute(select(*columns)).mappings().one()
        plate = "/dls/i24/data/2026/cm12345-1/mesh-and-collect/crystal-plate-7"
        others = [{**row, "imageDirectory": f"{plate}/position_{number:04d}/"} for number in range(2499)]
        connection.execute(insert(DataCollection), others)
    outcome = await mimas(dcid=dcid, event="end")
    runs = await runs_of(dcid)
    assert {launched.recipe for launched in outcome.launched} == {"archive-nexus"}
    assert len(runs) == 2  # the job's too
    for run in runs:
        assert len(json.dumps(run.parameters)) < 4000
        async with SiteResources() as resources:
            known = await recipe_parameters(
                dcid, run.parameters["parameters"], str(run.id), resources, UUID(run.parameters["read_by"])
            )
        assert len(known["ispyb_related_sweeps"]) == 2500
        assert len(known["ispyb_related_images"]) == 2500


@pytest.mark.usefixtures("installed")
async def test_nuls_in_ispyb_keep_nothing_from_running(collection):
    dcid = collection("Pilatus3 6M\0", grid=True, comments="crystal\0 2", imagePrefix="crystal\0")
    outcome = await mimas(dcid=dcid, event="start")
    assert len(outcome.launched) == len(await runs_of(dcid)) == 2
    assert await read_outcome(dcid, "start") == outcome


@pytest.mark.usefixtures("installed")
async def test_what_was_read_stays_for_the_run_of_the_first_event_when_it_comes_again(collection):
    dcid = collection("Pilatus3 6M", grid=True)
    await mimas(dcid=dcid, event="start")
    await mimas(dcid=dcid, event="start")
    for run in await runs_of(dcid):
        assert find_reading(UUID(run.parameters["read_by"]), dcid).dcid == dcid


@pytest.mark.usefixtures("installed", "ispyb")
async def test_what_is_no_id_is_refused_at_once_and_leaves_no_run():
    async with get_client() as client:
        flow_id = await client.create_flow_from_name("mimas")
        schema = mimas.parameters.model_dump_for_openapi()
        deployment = await client.create_deployment(
            flow_id,
            name="end",
            parameters={"event": "end"},
            parameter_openapi_schema=schema,
            enforce_parameter_schema=True,
        )
        for dcid in (92233720368547760001, 2**32, 0, True, "12a", "0", "-1"):
            with pytest.raises(PrefectHTTPStatusError, match="409"):
                await client.create_flow_run_from_deployment(deployment, parameters={"dcid": dcid})
        with pytest.raises(PrefectHTTPStatusError, match="409"):
            await client.create_flow_run_from_deployment(deployment, parameters={"dcid": 1, "parameters": {"a": 2**70}})
        of_mimas = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
        assert await client.read_flow_runs(deployment_filter=of_mimas) == []


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("value", ["a\0b", 2**64, "x" * 100_000])
async def test_parameters_that_prefect_can_not_bear_fail_the_run_before_anything_is_launched(collection, value):
    dcid = collection("Pilatus3 6M", grid=True)
    state = await mimas(dcid=dcid, event="start", parameters={"given": value}, return_state=True)
    assert state.is_failed()
    assert "parameters" in state.message
    assert len(state.message) < 1000
    assert await runs_of(dcid) == []


@pytest.mark.usefixtures("installed")
async def test_same_event_twice_gives_one_run_of_each_recipe(collection):
    dcid = collection("Pilatus3 6M", grid=True)
    first = await mimas(dcid=dcid, event="start")
    second = await mimas(dcid=dcid, event="start")
    assert [launched.flow_run_id for launched in second.launched] == [run.flow_run_id for run in first.launched]
    assert [launched.earlier for launched in (*first.launched, *second.launched)] == [False, False, True, True]
    assert len(await runs_of(dcid)) == 2


@pytest.mark.usefixtures("installed")
async def test_the_same_key_is_another_run_of_another_recipe():
    launches = [Launch(recipe, None, {}, "a-message-of-a-step", "test") for recipe in ("archive-cbfs", "archive-nexus")]
    first, again = [await PrefectLauncher().launch(launches) for _ in range(2)]
    assert len({launched.flow_run_id for launched in first}) == 2
    assert [launched.flow_run_id for launched in again] == [launched.flow_run_id for launched in first]
    assert [launched.earlier for launched in (*first, *again)] == [False, False, True, True]


@pytest.mark.usefixtures("installed", "ispyb")
async def test_the_same_key_takes_up_what_ended_badly_and_leaves_the_rest():
    launch = Launch("archive-cbfs", None, {}, "key-of-one-that-ends", "test")
    (first,) = await PrefectLauncher().launch([launch])
    for state in (Running(), Completed(message="2 steps done"), Cancelling(), Late()):
        await set_state(first.flow_run_id, state)
        (again,) = await PrefectLauncher().launch([launch])
        assert again == LaunchedRecipe(
            recipe=launch.recipe, flow_run_id=first.flow_run_id, earlier=True, state=again.state
        )
        assert again.state.startswith(state.name)
    for state in (Crashed(message="SIGKILL\0" * 1000), Failed(), Cancelled()):
        await set_state(first.flow_run_id, state)
        together = await asyncio.gather(*(PrefectLauncher().launch([launch]) for _ in range(3)))
        assert {again.flow_run_id for (again,) in together} == {first.flow_run_id}
        assert sum(again.taken_up for (again,) in together) == 1
        assert all(len(again.state) < 300 for (again,) in together)
        async with get_client() as client:
            assert (await client.read_flow_run(first.flow_run_id)).state.name == "AwaitingRetry"


@pytest.mark.usefixtures("ispyb")
async def test_what_ended_badly_and_can_not_be_started_again_is_replaced_once():
    launch = Launch("undeployed", None, {}, "key", "test")
    async with get_client() as client:
        flow_id = await client.create_flow_from_name("undeployed")
        deployment = await client.create_deployment(flow_id, name="live")
        (first,) = await PrefectLauncher().launch([launch])
        await set_state(first.flow_run_id, Crashed())
        await client.delete_deployment(deployment)
        await client.create_deployment(flow_id, name="live")
    second, third = [(await PrefectLauncher().launch([launch]))[0] for _ in range(2)]
    assert (second.earlier, second.flow_run_id == first.flow_run_id) == (False, False)
    assert (third.earlier, third.flow_run_id) == (True, second.flow_run_id)
    async with get_client() as client:
        await client.delete_flow_run(second.flow_run_id)
    (fourth,) = await PrefectLauncher().launch([launch])
    assert not fourth.earlier


async def set_state(run, state):
    async with get_client() as client:
        await client.set_flow_run_state(run, state, force=True)


@pytest.mark.usefixtures("installed")
async def test_same_event_at_the_same_time_gives_one_run_of_each_recipe(collection):
    dcid = collection("Pilatus3 6M", grid=True)
    outcomes = await asyncio.gather(*(mimas(dcid=dcid, event="start") for _ in range(3)))
    assert len({launched.flow_run_id for outcome in outcomes for launched in outcome.launched}) == 2
    assert len(await runs_of(dcid)) == 2


@pytest.mark.usefixtures("installed")
async def test_other_parameters_give_other_runs_and_win_over_ispyb(collection):
    dcid = collection("Pilatus3 6M", grid=True)
    await mimas(dcid=dcid, event="start")
    await mimas(dcid=dcid, event="start", parameters={"ispyb_image": "given", "factor": 2})
    runs = await runs_of(dcid)
    assert len(runs) == 4
    given = [run.parameters["parameters"] for run in runs if run.parameters["parameters"].get("factor") == 2]
    assert [parameters["ispyb_image"] for parameters in given] == ["given", "given"]


@pytest.mark.usefixtures("installed")
async def test_what_is_not_installed_is_reported(collection):
    dcid = collection("Eiger2 X CdTe 9M")
    outcome = await mimas(dcid=dcid, event="end")
    assert [launched.recipe for launched in outcome.launched] == ["archive-nexus"]
    assert outcome.not_installed == (
        "per-image-analysis-rotation-swmr",
        "processing-rlv-eiger",
        "generate-diffraction-preview",
        "processing-mmcif-gen",
        "ispyb-autoprocessing-xia2-dials-eiger",
        "ispyb-autoprocessing-xia2-3dii-eiger",
    )
    states = {job.display_name: job.state for job in outcome.jobs}
    assert (states["xia2 dials"], states["xia2 3dii"]) == ("not installed here", "not installed here")


@pytest.mark.usefixtures("installed")
async def test_jobs_are_created_once_and_started_or_held(collection, ispyb):
    dcid = collection("Eiger2 X CdTe 9M")
    first, second = await mimas(dcid=dcid, event="end"), await mimas(dcid=dcid, event="end")
    assert first.jobs == second.jobs
    jobs = {job.display_name: job for job in first.jobs}
    started, held = jobs["fast_dp"], jobs["autoPROC"]
    assert started.state == f"job {started.job_id} is launched"
    assert held.state == f"job {held.job_id} is held: `plaza job start {held.job_id}` starts it"
    assert held.flow_run_id is None
    created = {job.id: job for job in list_jobs(ispyb, dcid)}
    assert set(created) == {started.job_id, held.job_id}
    assert (created[held.job_id].recipe, created[held.job_id].automatic) == ("autoprocessing-autoPROC-eiger", True)
    assert created[started.job_id].sweeps == ((dcid, 1, 20),)

    (run,) = [run for run in await runs_of(dcid) if run.name.startswith("ispyb-")]
    assert run.id == started.flow_run_id
    assert run.name == f"ispyb-autoprocessing-fast-dp-eiger · dcid {dcid} · i24 · job {started.job_id}"
    assert run.parameters["parameters"] == {"ispyb_process": started.job_id}
    assert find_reading(UUID(run.parameters["read_by"]), dcid).dc_info["dataCollectionId"] == dcid


@pytest.mark.usefixtures("installed")
async def test_a_job_that_can_not_be_created_fails_the_run_but_not_the_others(collection, ispyb):
    dcid = collection("Eiger2 X CdTe 9M", numberOfImages=None)
    state = await mimas(dcid=dcid, event="end", return_state=True)
    assert state.is_failed()
    assert "give the sweeps" in state.message
    outcome = await read_outcome(dcid, "end")
    assert [launched.recipe for launched in outcome.launched] == ["archive-nexus"]
    assert {failure.recipe.removeprefix("ispyb-autoprocessing-") for failure in outcome.failed} == {
        "fast-dp-eiger",
        "autoPROC-eiger",
    }
    assert list_jobs(ispyb) == []


@pytest.mark.usefixtures("installed")
async def test_outcome_is_read_back_and_the_run_is_labelled(collection):
    dcid = collection("Pilatus3 6M", grid=True)
    started = await mimas(dcid=dcid, event="start")
    state = await mimas(dcid=dcid, event="end", return_state=True)
    assert await read_outcome(dcid, "start") == started
    ended = await read_outcome(dcid, "end")
    assert ended == await state.aresult()
    assert ended == await read_outcome_of_run(state.state_details.flow_run_id)
    assert ended.launched == ()
    assert await read_outcome(dcid + 10**6, "end") is None
    async with get_client() as client:
        run = await client.read_flow_run(state.state_details.flow_run_id)
    assert run.name == f"mimas end · dcid {dcid} · i24"
    assert set(run.tags) == {f"dcid:{dcid}", "i24", "cm12345-1"}


@pytest.mark.usefixtures("ispyb")
async def test_unknown_data_collection_fails_the_run():
    state = await mimas(dcid=999_999, event="end", return_state=True)
    assert state.is_failed()
    assert "UnknownDataCollection" in state.message
    assert "no data collection 999999" in state.message


async def test_run_status_is_waited_for_when_asked(collection, ispyb, monkeypatch):
    dcid = collection("Pilatus3 6M", grid=True, runStatus=None)
    monkeypatch.setattr(reading, "STATUS_INTERVAL_S", 0.05)
    polls = 0

    async def set_status_at_third_poll(seconds):
        nonlocal polls
        polls += 1
        if polls == 3:
            with transaction(ispyb) as connection:
                connection.execute(
                    update(DataCollection)
                    .where(DataCollection.dataCollectionId == dcid)
                    .values(runStatus="DataCollection Stopped")
                )
        await pause(seconds)

    pause = asyncio.sleep
    monkeypatch.setattr(reading.asyncio, "sleep", set_status_at_third_poll)
    state = await mimas(dcid=dcid, event="end", wait_for_run_status=True, return_state=True)
    assert state.is_completed()
    assert polls >= 3


async def test_without_a_run_status_the_run_fails_in_the_end(collection, monkeypatch):
    dcid = collection("Pilatus3 6M", grid=True, runStatus=None)
    monkeypatch.setattr(reading, "STATUS_INTERVAL_S", 0.05)
    state = await mimas(dcid=dcid, event="end", wait_for_run_status=True, run_status_timeout=0.2, return_state=True)
    assert state.is_failed()
    assert "RunStatusMissing" in state.message


async def test_a_database_that_stays_away_fails_the_run(monkeypatch):
    monkeypatch.setenv("PLAZA_ISPYB_URL", "mysql+pymysql://nobody:any@127.0.0.1:1/ispyb")  # where nobody listens
    monkeypatch.setattr(reading, "OUTAGE_PATIENCE_S", 0.1)
    get_settings.cache_clear()
    state = await mimas(dcid=1, event="end", return_state=True)
    get_settings.cache_clear()
    assert state.is_failed()
    assert "DatabaseUnavailable" in state.message


@pytest.mark.usefixtures("installed")
async def test_a_recipe_that_cannot_be_launched_fails_the_run_but_not_the_others(collection):
    dcid = collection("Pilatus3 6M", grid=True)
    async with get_client() as client:
        deployment = await client.read_deployment_by_name("archive-cbfs/live")
        schema = {"type": "object", "properties": {"sample": {"type": "string"}}, "required": ["sample"]}
        await client.create_deployment(
            deployment.flow_id, name="live", parameter_openapi_schema=schema, enforce_parameter_schema=True
        )
        state = await mimas(dcid=dcid, event="start", return_state=True)
        await client.create_deployment(deployment.flow_id, name="live", enforce_parameter_schema=False)
    assert state.is_failed()
    assert "LaunchFailed" in state.message
    assert "archive-cbfs" in state.message
    outcome = await read_outcome(dcid, "start")
    assert [launched.recipe for launched in outcome.launched] == ["per-image-analysis-gridscan"]
    assert [failure.recipe for failure in outcome.failed] == ["archive-cbfs"]
