"""A request for a processing job runs the recipe that ISPyB has for it."""

import pytest
from ispyb.sqlalchemy import ProcessingJob
from sqlalchemy.orm import Session

from blocks.settings import get_settings
from flows.events.dispatching import RequestRefused, dispatch
from flows.events.request import RunRequest
from tests.support.fake_resources import FakeLauncher, FakeResources


class Resources(FakeResources):
    """A site's ISPyB, and a launcher that launches nothing."""

    ispyb = None


@pytest.fixture
def database():
    return "sqlite"


@pytest.fixture
def resources(settings, engine, monkeypatch):
    monkeypatch.setenv("PLAZA_HOME", str(settings.home))
    get_settings.cache_clear()
    resources = Resources(settings, FakeLauncher(["ispyb-autoprocessing-xia2", "other"]))
    resources.ispyb = engine
    yield resources
    get_settings.cache_clear()


@pytest.fixture
def add_job(engine, add_collection):
    def add(recipe):
        dcid = add_collection()
        with Session(engine) as session:
            session.add(job := ProcessingJob(dataCollectionId=dcid, recipe=recipe))
            session.commit()
            return dcid, job.processingJobId

    return add


async def dispatched(message, resources):
    return await dispatch(RunRequest.model_validate(message), "k", resources)


@pytest.mark.parametrize("key", ["ispyb_process", "ispyb_reprocessing_id"])
@pytest.mark.parametrize("recipes", [{}, {"recipes": []}], ids=["SynchWeb", "zocalo.go"])
@pytest.mark.parametrize("kind", [int, str])
async def test_jobs_recipe_is_run_for_its_collection(resources, add_job, key, recipes, kind):
    dcid, job = add_job("autoprocessing-xia2")
    launch = (await dispatched({**recipes, "parameters": {key: kind(job)}}, resources)).launch
    assert (launch.recipe, launch.dcid) == ("ispyb-autoprocessing-xia2", dcid)
    assert launch.parameters == {key: kind(job)}
    assert launch.name == f"ispyb-autoprocessing-xia2 · dcid {dcid} · job {job}"


async def test_recipe_that_is_named_is_run_for_the_job(resources, add_job):
    _, job = add_job("autoprocessing-xia2")
    launch = (await dispatched({"recipes": ["other"], "parameters": {"ispyb_process": job}}, resources)).launch
    assert launch.recipe == "other"


async def test_job_without_a_recipe_is_refused(resources, add_job):
    _, job = add_job(None)
    with pytest.raises(RequestRefused, match=f"processing job {job} has no recipe"):
        await dispatched({"parameters": {"ispyb_process": job}}, resources)


async def test_unknown_job_is_refused(resources):
    with pytest.raises(RequestRefused, match="no processing job 4711"):
        await dispatched({"parameters": {"ispyb_process": "4711"}}, resources)


async def test_job_of_a_recipe_that_is_not_here_is_refused(resources, add_job):
    _, job = add_job("unheard-of")
    with pytest.raises(RequestRefused, match="ispyb-unheard-of"):
        await dispatched({"parameters": {"ispyb_process": job}}, resources)


async def test_job_of_a_recipe_whose_name_is_too_long_for_a_file_is_refused(resources, add_job, monkeypatch):
    _, job = add_job("a")
    monkeypatch.setattr(
        "flows.events.dispatching._read_job", lambda *_: type("Job", (), {"recipe": "é" * 150, "dcid": None})
    )
    with pytest.raises(RequestRefused, match="it has 300 bytes"):
        await dispatched({"parameters": {"ispyb_process": job}}, resources)
