"""A recipe run reads ISPyB for what it wasn't handed, and for nothing else."""

import json

import pytest
from ispyb import sqlalchemy as models
from sqlalchemy.orm import Session

from blocks.errors import UnknownDataCollection, UnknownJob
from flows.recipe.parameters import recipe_parameters
from tasks.step.resources import Resources


class NoDatabase(Resources):
    """Resources of a run that asks ISPyB nothing."""

    @property
    def ispyb(self):
        raise AssertionError("ISPyB was asked")


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


async def test_what_mimas_read_is_handed_over_and_only_the_folders_are_the_runs_own(
    resources, settings, add_collection
):
    dcid = add_collection()
    read = await recipe_parameters(dcid, {}, "run-of-mimas", resources)
    handed = json.loads(json.dumps(read))  # as it goes through Prefect's API
    found = await recipe_parameters(dcid, handed, "run-2", NoDatabase(settings))
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
    assert await recipe_parameters(None, handed, "run-1", NoDatabase(settings)) == handed


async def test_run_without_collection_and_job_asks_nothing(settings):
    found = await recipe_parameters(None, {"visit": "mx1-1"}, "run-1", NoDatabase(settings))
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
