"""Processing jobs as their recipes see them, and parameters completed as Zocalo's dispatcher does."""

from datetime import datetime

import pytest
from ispyb import sqlalchemy as models
from sqlalchemy import event
from sqlalchemy.orm import Session

from blocks.errors import UnknownDataCollection, UnknownJob
from tasks.ispyb_access.reading.reader import complete_parameters, read_processing_job

DIRECTORY = "/dls/i03/data/2024/mx12345-1/lys/x1"


@pytest.fixture
def add_job(engine):
    """Add a job with its parameters (key, value) and sweeps (dcid, start, end), and return its id."""

    def add(dcid, parameters=(), sweeps=(), **columns):
        with Session(engine) as session:
            job = models.ProcessingJob(
                **{"dataCollectionId": dcid, "recipe": "autoprocessing-xia2-dials", "automatic": 1} | columns,
                recordTimestamp=datetime(2024, 5, 1, 13),
            )
            session.add(job)
            session.flush()
            for key, value in parameters:
                session.add(
                    models.ProcessingJobParameter(
                        processingJobId=job.processingJobId, parameterKey=key, parameterValue=value
                    )
                )
                session.flush()
            for of, start, end in sweeps:
                session.add(
                    models.ProcessingJobImageSweep(
                        processingJobId=job.processingJobId, dataCollectionId=of, startImage=start, endImage=end
                    )
                )
                session.flush()
            session.commit()
            return job.processingJobId

    return add


def test_job_has_the_parameters_that_recipes_know(engine, add_collection, add_job):
    one, two = add_collection(), add_collection(fileTemplate="lys_2_master.h5")
    job = add_job(
        one, [("ice", "yes"), ("cell", "1"), ("cell", "2"), ("ice", None)], [(two, 1, 900), (one, 5, 10)],
        displayName="xia2 dials", comments="again",
    )  # fmt: skip
    found = read_processing_job(engine, job)
    assert found.recipe_parameters() == {
        "ispyb_dcid": one,
        "ispyb_process": job,
        "ispyb_processing_job": {
            "processingJobId": job,
            "recordTimestamp": "2024-05-01T13:00:00",
            "dataCollectionId": one,
            "displayName": "xia2 dials",
            "comments": "again",
            "recipe": "autoprocessing-xia2-dials",
            "automatic": 1,
        },
        "ispyb_processing_parameters": {"ice": ["yes", None], "cell": ["1", "2"]},
        "ispyb_reprocessing_parameters": {"ice": None, "cell": "2"},
        "ispyb_images": f"{DIRECTORY}/lys_2_master.h5:1:900,{DIRECTORY}/lys_1_00005.cbf:5:10",
    }
    assert found.recipe == "ispyb-autoprocessing-xia2-dials"


def test_job_takes_three_statements(engine, add_collection, add_job):
    job = add_job(add_collection(), [("a", "b")] * 4)
    statements = []
    event.listen(engine, "before_cursor_execute", lambda _c, _cur, statement, *_: statements.append(statement))
    read_processing_job(engine, job)
    assert len([statement for statement in statements if statement.startswith("SELECT")]) == 3


@pytest.mark.parametrize(
    ("start", "end", "images"),
    [(None, None, "lys_1_00001.cbf:1:1800"), (7, None, "lys_1_00007.cbf:7:1800"), (None, 9, "lys_1_00001.cbf:1:9")],
)
def test_open_end_of_a_sweep_is_that_of_the_collection(engine, add_collection, add_job, start, end, images):
    dcid = add_collection()
    found = read_processing_job(engine, add_job(dcid, sweeps=[(dcid, start, end)]))
    assert found.images == f"{DIRECTORY}/{images}"


def test_sweep_whose_files_nobody_knows_is_left_out(engine, add_collection, add_job):
    known, unknown = add_collection(), add_collection(fileTemplate=None)
    found = read_processing_job(engine, add_job(known, sweeps=[(unknown, 1, 2), (known, 1, 2)]))
    assert found.images == f"{DIRECTORY}/lys_1_00001.cbf:1:2"


def test_job_without_collection_has_that_of_its_first_sweep(engine, add_collection, add_job):
    one, two = add_collection(), add_collection()
    job = add_job(None, sweeps=[(two, 1, 2), (one, 1, 2)])
    found = complete_parameters(engine, {"ispyb_process": job}, "run")
    assert (found["ispyb_dcid"], found["ispyb_dc_info"]["dataCollectionId"]) == (two, two)


def test_job_without_any_collection_is_refused(engine, facility, add_job):
    with pytest.raises(UnknownDataCollection, match="names no data collection, nor do its sweeps"):
        complete_parameters(engine, {"ispyb_process": add_job(None)}, "run")


@pytest.mark.parametrize("key", ["ispyb_process", "ispyb_reprocessing_id"])
@pytest.mark.parametrize("as_id", [int, str, lambda number: f" {number} "])
def test_parameters_of_a_job_are_those_of_its_collection_too(engine, add_collection, add_job, key, as_id):
    dcid = add_collection()
    job = add_job(dcid)
    found = complete_parameters(engine, {key: as_id(job), "nproc": 4}, "run")
    assert (found["ispyb_dcid"], found["ispyb_process"], found["nproc"]) == (dcid, job, 4)
    assert found["ispyb_beamline"] == "i03"
    assert found["ispyb_processing_job"]["processingJobId"] == job
    assert found["ispyb_results_directory"].endswith("/run")


def test_collection_that_was_named_goes_before_the_jobs_own(engine, add_collection, add_job):
    one, two = add_collection(), add_collection()
    found = complete_parameters(engine, {"ispyb_process": add_job(one), "ispyb_dcid": str(two)}, "run")
    assert (found["ispyb_dcid"], found["ispyb_image_template"]) == (two, "lys_2_#####.cbf")


@pytest.mark.parametrize(
    ("recipe", "sweep", "images"),
    [
        ("xia2", True, "lys_1_00002.cbf:2:3"),
        (None, True, "lys_1_00002.cbf:2:3"),
        ("xia2", False, ""),  # its data collection alone
        (None, False, "lys_2_00001.cbf:1:1800"),  # the group's other rotation, as without a job
    ],
)
def test_images_are_the_jobs(engine, add_collection, add_group, add_job, recipe, sweep, images):
    group = add_group()
    one, _ = (add_collection(dataCollectionGroupId=group) for _ in range(2))
    job = add_job(one, sweeps=[(one, 2, 3)] if sweep else [], recipe=recipe)
    found = complete_parameters(engine, {"ispyb_process": job}, "run")
    assert found["ispyb_images"] == (f"{DIRECTORY}/{images}" if images else "")


def test_what_was_handed_over_goes_before_ispyb(engine, add_collection):
    dcid = add_collection()
    given = {"ispyb_dcid": dcid, "ispyb_image": "/mine:1:2", "ispyb_space_group": "P1", "other": None}
    found = complete_parameters(engine, given, "run")
    assert {key: found[key] for key in given} == given


def test_what_was_read_is_not_read_again(engine, add_collection, add_job):
    dcid = add_collection()
    read = complete_parameters(engine, {"ispyb_dcid": dcid}, "run")
    statements = []
    event.listen(engine, "before_cursor_execute", lambda _c, _cur, statement, *_: statements.append(statement))
    assert complete_parameters(engine, read, "run") == read
    assert statements == []
    job = add_job(dcid, sweeps=[(dcid, 2, 3)])
    statements.clear()
    with_job = complete_parameters(engine, {**read, "ispyb_process": job}, "run")
    assert len([statement for statement in statements if statement.startswith("SELECT")]) == 3
    assert with_job["ispyb_processing_job"]["processingJobId"] == job
    assert with_job["ispyb_images"] == f"{DIRECTORY}/lys_1_00002.cbf:2:3"
    assert complete_parameters(engine, with_job, "run") == with_job


@pytest.mark.parametrize("given", [{}, {"dcid": 5}, {"ispyb_process": None}, {"ispyb_dcid": None}, {"x": {"y": 1}}])
def test_parameters_that_name_nothing_stay_as_they_are(given):
    assert complete_parameters(None, given, "run") == given


@pytest.mark.parametrize("value", ["x", -1, "-1", 1.5, "1.0", [1], True, "٣", 10**30, "9" * 5000])
def test_id_that_is_none_is_refused(value):
    """Before ISPyB is asked."""
    with pytest.raises(UnknownDataCollection, match="no id of a data collection: expected a whole number"):
        complete_parameters(None, {"ispyb_dcid": value}, "run")
    with pytest.raises(UnknownJob, match="no id of a processing job: expected a whole number"):
        complete_parameters(None, {"ispyb_process": value}, "run")


def test_unknown_ids_are_named(engine):
    for number in (4711, 2**31, 2**32, 10**18 - 1):
        with pytest.raises(UnknownJob, match=f"no processing job {number}"):
            complete_parameters(engine, {"ispyb_process": number}, "run")
        with pytest.raises(UnknownDataCollection, match=f"no data collection {number}"):
            complete_parameters(engine, {"ispyb_dcid": number}, "run")
