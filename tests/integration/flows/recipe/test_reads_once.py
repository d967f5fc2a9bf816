"""A recipe run reads ISPyB for what it wasn't handed, and for nothing else."""

import json
from uuid import UUID

import pytest
from ispyb import sqlalchemy as models
from sqlalchemy import event
from sqlalchemy.orm import Session

from blocks.errors import UnknownDataCollection, UnknownJob
from flows.recipe.ispyb_reading import read_collection
from flows.recipe.mimas_reading import OtherDataCollection, keep_reading
from flows.recipe.parameters import recipe_parameters
from tests.support.fake_resources import FakeResources

MIMAS_RUN = UUID(int=7)


@pytest.fixture
def job(engine, add_collection):
    dcid = add_collection()
    with Session(engine) as session:
        job = models.ProcessingJob(dataCollectionId=dcid, recipe="autoprocessing-fast-dp")
        session.add(job)
        session.flush()
        session.add(
            models.ProcessingJobParameter(processingJobId=job.processingJobId, parameterKey="d_min", parameterValue="2")
        )
        session.commit()
        return job.processingJobId


async def test_run_started_by_hand_reads_for_itself(resources, settings, add_collection):
    dcid = add_collection()
    found = await recipe_parameters(dcid, {"nproc": 4}, "run-1", resources)
    assert (found["ispyb_dcid"], found["ispyb_beamline"], found["nproc"], found["guid"]) == (dcid, "i03", 4, "run-1")
    assert found["operators"] == settings.operators


@pytest.fixture
def own_home(settings, monkeypatch):
    """What is handed over lies in the home folder of the test's settings."""
    monkeypatch.setattr("flows.recipe.mimas_reading.get_settings", lambda: settings)


@pytest.mark.usefixtures("own_home")
async def test_what_mimas_read_is_handed_over_and_only_the_folders_are_the_runs_own(
    resources, settings, add_collection
):
    dcid = add_collection()
    collection = await read_collection(resources, dcid, str(MIMAS_RUN))
    keep_reading(collection, MIMAS_RUN)
    read = collection.recipe_parameters()
    found = await recipe_parameters(dcid, {}, "run-2", FakeResources(settings), MIMAS_RUN)
    own = {"ispyb_dc_info", "ispyb_working_directory", "ispyb_results_directory", "ispyb_final_directory"}
    assert {key for key, value in read.items() if value != found[key]} == own
    assert set(found) - set(read) == {"guid", *settings.recipe_parameters()}
    assert found["ispyb_results_directory"] == read["ispyb_results_directory"].replace(str(MIMAS_RUN), "run-2")
    assert found["ispyb_dc_info"] == read["ispyb_dc_info"] | {"uuid": "run-2"}


@pytest.mark.usefixtures("own_home")
async def test_run_reads_for_itself_what_it_finds_nobody_has_read(resources, add_collection, caplog):
    dcid = add_collection()
    found = await recipe_parameters(dcid, {}, "run-2", resources, MIMAS_RUN)
    assert found["ispyb_beamline"] == "i03"
    assert found["ispyb_results_directory"].endswith("/lys_1/run-2")
    assert f"what Mimas's run {MIMAS_RUN} has read isn't here, ISPyB is read again" in caplog.text


@pytest.mark.usefixtures("own_home")
async def test_what_was_read_of_another_collection_is_refused(resources, add_collection):
    one, two = add_collection(), add_collection()
    keep_reading(await read_collection(resources, one, str(MIMAS_RUN)), MIMAS_RUN)
    with pytest.raises(OtherDataCollection, match=f"for data collection {two}, but .* has read {one} "):
        await recipe_parameters(two, {}, "run-2", resources, MIMAS_RUN)


@pytest.mark.usefixtures("own_home")
async def test_what_the_event_brought_goes_before_what_mimas_read(resources, settings, add_collection):
    dcid = add_collection()
    keep_reading(await read_collection(resources, dcid, str(MIMAS_RUN)), MIMAS_RUN)
    given = {"ispyb_image": "given", "nproc": 4}
    found = await recipe_parameters(dcid, given, "run-2", FakeResources(settings), MIMAS_RUN)
    assert {key: found[key] for key in given} == given


@pytest.mark.usefixtures("own_home")
async def test_run_of_a_job_of_mimas_reads_the_job_only(engine, resources, job):
    dcid = (await recipe_parameters(None, {"ispyb_process": job}, "run-1", resources))["ispyb_dcid"]
    keep_reading(await read_collection(resources, dcid, str(MIMAS_RUN)), MIMAS_RUN)
    statements = []
    event.listen(resources.ispyb, "before_cursor_execute", lambda _c, _cur, statement, *_: statements.append(statement))
    found = await recipe_parameters(dcid, {"ispyb_process": job}, "run-2", resources, MIMAS_RUN)
    assert len([statement for statement in statements if statement.startswith("SELECT")]) == 3
    assert found == await recipe_parameters(dcid, {"ispyb_process": job}, "run-2", resources)


async def test_what_a_message_of_zocalo_brings_is_not_read_again(resources, settings, add_collection):
    dcid = add_collection()
    read = await recipe_parameters(dcid, {}, "run-of-mimas", resources)
    handed = json.loads(json.dumps(read))
    found = await recipe_parameters(dcid, handed, "run-2", FakeResources(settings))
    own = {"guid", "ispyb_dc_info", "ispyb_working_directory", "ispyb_results_directory", "ispyb_final_directory"}
    assert {key for key, value in found.items() if value != handed.get(key)} == own
    assert found["ispyb_results_directory"] == handed["ispyb_results_directory"].replace("run-of-mimas", "run-2")
    assert found["ispyb_dc_info"] == handed["ispyb_dc_info"] | {"uuid": "run-2"}


@pytest.mark.parametrize("key", ["ispyb_process", "ispyb_reprocessing_id"])
async def test_run_of_a_job_reads_the_job_and_its_collection(resources, job, key):
    found = await recipe_parameters(None, {key: str(job)}, "run-1", resources)
    assert found["ispyb_processing_job"]["recipe"] == "autoprocessing-fast-dp"
    assert found["ispyb_processing_parameters"] == {"d_min": ["2"]}
    assert found["ispyb_dcid"] == found["ispyb_dc_info"]["dataCollectionId"]
    assert found["ispyb_results_directory"].endswith("/lys_1/run-1")


async def test_job_is_read_for_a_collection_that_was_handed_over(resources, settings, job):
    handed = await recipe_parameters(None, {"ispyb_process": job}, "run-1", resources)
    of_job = {"ispyb_process", "ispyb_processing_job", "ispyb_processing_parameters", "ispyb_reprocessing_parameters"}
    without_job = {key: value for key, value in handed.items() if key not in of_job}
    found = await recipe_parameters(None, {**without_job, "ispyb_process": job}, "run-1", resources)
    assert found == handed
    assert await recipe_parameters(None, handed, "run-1", FakeResources(settings)) == handed


async def test_run_without_collection_and_job_asks_nothing(settings):
    found = await recipe_parameters(None, {"visit": "mx1-1"}, "run-1", FakeResources(settings))
    assert found == {"visit": "mx1-1", "guid": "run-1", **settings.recipe_parameters()}


async def test_named_collection_goes_before_that_of_the_parameters(resources, add_collection):
    one, two = add_collection(), add_collection()
    found = await recipe_parameters(one, {"ispyb_dcid": two}, "run-1", resources)
    assert (found["ispyb_dcid"], found["ispyb_dc_info"]["dataCollectionId"]) == (one, one)


async def test_unknown_ones_are_named(resources):
    with pytest.raises(UnknownDataCollection, match="4711"):
        await recipe_parameters(4711, {}, "run-1", resources)
    with pytest.raises(UnknownJob, match="4712"):
        await recipe_parameters(None, {"ispyb_process": 4712}, "run-1", resources)
