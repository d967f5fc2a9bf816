"""Rows that say little, or what makes no sense, can be read all the same."""

import json

import pytest
from ispyb import sqlalchemy as models
from sqlalchemy import insert, select, text, update
from sqlalchemy.orm import Session

from flows.mimas.scenario import DCClass, Event
from flows.mimas.scenarios.ispyb_scenario import scenario_from_ispyb
from tasks.ispyb_access.reading.reader import read_data_collection, read_processing_job

COLLECTION = models.DataCollection.__table__


def read(engine, dcid):
    """Read parameters, which have to be JSON and enough for Mimas."""
    collection = read_data_collection(engine, dcid, "guid-1")
    json.dumps(collection.model_dump(), allow_nan=False)
    scenario_from_ispyb(collection.model_copy(update={"beamline": collection.beamline or "i03"}), Event.END)
    return collection.recipe_parameters()


NULLABLE = [column for column in COLLECTION.columns if column.nullable]


def test_electron_microscopes_collection_of_nulls(engine, add_group):
    row = {"dataCollectionGroupId": add_group(experimentType="EM"), **{column.name: None for column in NULLABLE}}
    with engine.begin() as connection:
        (dcid,) = connection.execute(insert(COLLECTION).values(row)).inserted_primary_key
    found = read(engine, dcid)
    kinds = found["ispyb_dc_class"]
    assert {name for name, value in kinds.items() if value is None} == {"screen", "rotation"}
    assert not any(kinds.values())
    nothing = (
        "detectorclass detectorname smiles image_first image_last image_template image_directory image_pattern "
        "visit_directory working_directory results_directory final_directory reference_geometry"
    )
    assert {found[f"ispyb_{name}"] for name in nothing.split()} == {None}
    assert found["ispyb_related_sweeps"] == []
    assert (found["ispyb_project"], found["ispyb_crystal"]) == ("mx12345v1", "DEFAULT")


def test_any_column_may_be_null(engine, add_collection):
    dcid = add_collection()
    for column in NULLABLE:
        with engine.begin() as connection:
            before = connection.scalar(select(column).where(COLLECTION.c.dataCollectionId == dcid))
            connection.execute(update(COLLECTION).values({column: None}))
        assert read(engine, dcid)["ispyb_dc_info"][column.name] is None
        with engine.begin() as connection:
            connection.execute(update(COLLECTION).values({column: before}))


@pytest.mark.parametrize("model", [None, "", "Jungfrau"])
def test_detector_whose_model_says_nothing(engine, add_collection, model):
    with Session(engine) as session:
        session.add(detector := models.Detector(detectorModel=model))
        session.commit()
        detector_id = detector.detectorId
    found = read(engine, add_collection(detectorId=detector_id))
    assert (found["ispyb_detectorclass"], found["ispyb_detectorname"]) == ("pilatus", None)


def test_directory_without_slash_at_its_end(engine, add_collection):
    found = read(engine, add_collection(imageDirectory="/dls/i03/data/2024/mx12345-1/lys/x1"))
    assert found["ispyb_image"] == "/dls/i03/data/2024/mx12345-1/lys/x1/lys_1_00001.cbf:1:1800"
    assert found["ispyb_results_directory"] == "/dls/i03/data/2024/mx12345-1/processed/lys/x1/lys_1/guid-1"


@pytest.mark.parametrize(
    ("directory", "visit", "visit_directory"),
    [
        ("/", "mx12345-1", "/"),
        ("relative/path", "mx12345-1", "relative/path"),
        ("/data/mx12345-1", "mx12345-1", "/data/mx12345-1"),
        ("/dls/i03/data/2024/mx12345-1", "mx12345-1", "/dls/i03/data/2024/mx12345-1"),
        ("//dls//i03/data/2024/mx12345-1//x/", "mx12345-1", "//dls/i03/data/2024/mx12345-1"),
    ],
)
def test_unusual_directories(engine, add_collection, directory, visit, visit_directory):
    found = read(engine, add_collection(imageDirectory=directory))
    assert (found["ispyb_visit"], found["ispyb_visit_directory"]) == (visit, visit_directory)


def test_empty_directory_is_none(engine, add_collection):
    assert read(engine, add_collection(imageDirectory=""))["ispyb_results_directory"] is None


def test_template_without_hashes(engine, add_collection):
    found = read(engine, add_collection(fileTemplate="lys%_1_master.h5"))
    assert found["ispyb_image_pattern"] == "lys%_1_master.h5"
    assert found["ispyb_image"].endswith("/lys%_1_master.h5:1:1800")


def test_template_with_two_runs_of_hashes(engine, add_collection):
    found = read(engine, add_collection(fileTemplate="lys_##_####.cbf"))
    assert found["ispyb_image_pattern"] == "lys_##_%04d.cbf"
    assert found["ispyb_image"].endswith("/lys_##_0001.cbf:1:1800")


@pytest.mark.parametrize("columns", [{"BLSAMPLEID": 0, "SESSIONID": 0}, {"BLSAMPLEID": 4711, "SESSIONID": 4711}])
def test_ids_that_refer_to_nothing(engine, add_collection, columns):
    found = read(engine, add_collection(**columns))
    assert found["ispyb_pin_info"]["containerId"] is None
    assert found["ispyb_preferred_processing"] == "xia2/DIALS"


@pytest.mark.parametrize("count", [0, -1])
def test_no_images(engine, add_collection, count):
    assert read(engine, add_collection(numberOfImages=count))["ispyb_image_last"] == count


def test_value_that_is_no_member_of_its_enum(engine, add_collection, add_group):
    """A lenient server stores '' for an unknown one; SQLite stores anything."""
    group = add_group()
    dcid = add_collection(dataCollectionGroupId=group, numberOfImages=1)
    odd = "" if engine.dialect.name == "mysql" else "Odd"
    with engine.begin() as connection:
        if engine.dialect.name == "mysql":
            connection.execute(text("SET sql_mode = ''"))
        connection.execute(text(f"UPDATE DataCollectionGroup SET experimentType = '{odd}'"))
        connection.execute(text(f"UPDATE DataCollection SET rotationAxis = '{odd}'"))
    found = read(engine, dcid)
    assert found["ispyb_dcg_experiment_type"] == found["ispyb_dc_info"]["rotationAxis"] == odd


def test_grid_of_nulls_is_a_grid(engine, add_collection):
    dcid = add_collection(axisRange=None, overlap=None)
    with Session(engine) as session:
        session.add(models.GridInfo(dataCollectionId=dcid))
        session.commit()
    found = read_data_collection(engine, dcid, "guid-1")
    assert found.dc_info["gridinfo"]["steps_x"] is None
    assert scenario_from_ispyb(found, Event.END)[0].dc_class is DCClass.GRIDSCAN


def test_nuls_are_left_out_wherever_they_stand(engine, facility, add_collection, add_group):
    """C strings of control systems bring them; PostgreSQL, paths and command lines can't have them."""
    group = add_group()
    add_collection(dataCollectionGroupId=group, fileTemplate="other\0_1_#####.cbf")
    dcid = add_collection(
        dataCollectionGroupId=group,
        comments="crystal\0 2",
        imageDirectory="/dls/i03/data/2024/mx12345-1/lys\0/x1/\0",
        imagePrefix="lys\0",
        fileTemplate="lys\0_1_#####.cbf",
    )
    with Session(engine) as session:
        session.get(models.BLSample, facility.sample).name = "x\x001"
        session.get(models.Crystal, facility.crystal).spaceGroup = "P41212\0\0"
        session.get(models.Detector, facility.detector).detectorModel = "Eiger2 XE 16M\0"
        job = models.ProcessingJob(dataCollectionId=dcid, recipe="xia2\0", displayName="\0")
        session.add(job)
        session.flush()
        session.add(
            models.ProcessingJobParameter(
                processingJobId=job.processingJobId, parameterKey="d\0_min", parameterValue="\x002"
            )
        )
        session.commit()
        job_id = job.processingJobId
    found = read(engine, dcid) | read_processing_job(engine, job_id).recipe_parameters()
    assert "\\u0000" not in json.dumps(found)
    assert found["ispyb_dc_info"]["comments"] == "crystal 2"
    assert found["ispyb_image"] == "/dls/i03/data/2024/mx12345-1/lys/x1/lys_1_00001.cbf:1:1800"
    assert found["ispyb_related_images"][0][1] == "/dls/i03/data/2024/mx12345-1/lys/x1/other_1_00001.cbf"
    assert (found["ispyb_space_group"], found["ispyb_detectorclass"]) == ("P41212", "eiger")
    assert found["ispyb_processing_parameters"] == {"d_min": ["2"]}
