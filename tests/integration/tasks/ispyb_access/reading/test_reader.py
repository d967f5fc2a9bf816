"""A data collection as recipes see it, read from a real database."""

import json
from datetime import datetime

import pytest
from ispyb import sqlalchemy as models
from sqlalchemy.orm import Session

from blocks.errors import ConfigurationError, UnknownDataCollection
from blocks.ispyb_connection import open_engine
from blocks.sqlite_file import make_file
from tasks.ispyb_access.reading.reader import read_data_collection, read_run_status


def read(engine, dcid, guid="guid-1"):
    return read_data_collection(engine, dcid, guid).recipe_parameters()


def add(engine, row):
    with Session(engine, expire_on_commit=False) as session:
        session.add(row)
        session.commit()
        return row


def test_rotation_has_the_parameters_that_recipes_know(engine, add_collection, facility):
    dcid = add_collection()
    found = read(engine, dcid)
    info = found.pop("ispyb_dc_info")
    plan = found.pop("ispyb_diffraction_plan")
    protein = found.pop("ispyb_protein_info")
    visit = "/dls/i03/data/2024/mx12345-1"
    first = f"{visit}/lys/x1/lys_1_00001.cbf"
    assert found == {
        "ispyb_dcid": dcid,
        "ispyb_beamline": "i03",
        "ispyb_detectorclass": "eiger",
        "ispyb_detectorname": "Eiger16M",
        "ispyb_dc_class": {
            "grid": False,
            "serial_fixed": False,
            "serial_jet": False,
            "screen": False,
            "characterization": False,
            "diamond_anvil_cell": False,
            "rotation": True,
        },
        "ispyb_dcg_experiment_type": "SAD",
        "ispyb_dcg_dcids": [],
        "ispyb_smiles": "CCO",
        "ispyb_preferred_processing": "xia2/DIALS",
        "ispyb_space_group": "P41212",
        "ispyb_unit_cell": (57.8, 57.8, 150.2, 90.0, 90.0, 90.0),
        "ispyb_pin_info": {
            "containerId": facility.container,
            "location": "3",
            "subLocation": None,
            "loopType": "nylon",
        },
        "ispyb_msp_sample_ids": {},
        "ispyb_image_first": 1,
        "ispyb_image_last": 1800,
        "ispyb_image_template": "lys_1_#####.cbf",
        "ispyb_image_directory": f"{visit}/lys/x1/",
        "ispyb_image_pattern": "lys_1_%05d.cbf",
        "ispyb_energy_scan_info": {},
        "ispyb_pdb": [],
        "ispyb_reference_geometry": None,
        "ispyb_related_dcids": [{"dcids": [dcid], "sample_id": facility.sample, "name": "x1"}],
        "ispyb_ssx_events": None,
        "ispyb_ssx_shots_per_image": None,
        "ispyb_image": f"{first}:1:1800",
        "ispyb_images": "",
        "ispyb_related_sweeps": [(dcid, 1, 1800)],
        "ispyb_related_images": [(dcid, first)],
        "ispyb_visit": "mx12345-1",
        "ispyb_visit_directory": visit,
        "ispyb_working_directory": f"{visit}/tmp/zocalo/lys/x1/lys_1/guid-1",
        "ispyb_results_directory": f"{visit}/processed/lys/x1/lys_1/guid-1",
        "ispyb_final_directory": f"{visit}/processed/pipeline-final/lys/x1/lys_1/guid-1",
        "ispyb_project": "mx12345v1",
        "ispyb_crystal": "xlys1",
    }
    assert set(models.DataCollection.__table__.columns.keys()) | {"uuid", "gridinfo"} == set(info)
    assert info["startTime"] == "2024-05-01T12:30:15"
    assert isinstance(info["flux"], float)
    assert (info["uuid"], info["gridinfo"]) == ("guid-1", {})
    assert (plan["anomalousScatterer"], plan["requiredResolution"]) == ("S", 1.5)
    assert (protein["acronym"], protein["sequence"], protein["externalId"]) == ("thau", "ATFEIVNRCS", "01" * 16)


def test_all_values_can_be_sent_as_json(engine, add_collection):
    found = read(engine, add_collection())
    assert json.loads(json.dumps(found))["ispyb_dc_info"] == found["ispyb_dc_info"]


def test_grid_has_its_grid_and_no_images_for_xia2(engine, add_collection, add_group):
    dcid = add_collection(dataCollectionGroupId=add_group(experimentType="Mesh"), axisRange=0.0, numberOfImages=20)
    add(engine, models.GridInfo(dataCollectionId=dcid, steps_x=5, steps_y=4, dx_mm=0.02, dy_mm=0.02, snaked=1))
    found = read(engine, dcid)
    grid = found["ispyb_dc_info"]["gridinfo"]
    assert (grid["steps_x"], grid["steps_y"], grid["dx_mm"], grid["snaked"]) == (5.0, 4.0, 0.02, 1)
    assert found["ispyb_dc_class"]["grid"]
    assert not found["ispyb_dc_class"]["rotation"]
    assert "ispyb_images" not in found


def test_old_grid_is_found_by_its_group(engine, add_collection, add_group):
    group = add_group(experimentType="Mesh")
    dcid = add_collection(dataCollectionGroupId=group, axisRange=0.0)
    add(engine, models.GridInfo(dataCollectionGroupId=group, steps_x=7, steps_y=3))
    assert read(engine, dcid)["ispyb_dc_info"]["gridinfo"]["steps_x"] == 7.0


def test_screening_names_no_images_for_xia2(engine, add_collection):
    found = read(engine, add_collection(numberOfImages=3, overlap=-44.5))
    assert found["ispyb_dc_class"]["screen"]
    assert found["ispyb_images"] == ""


def test_group_of_sweeps_is_related(engine, add_collection, add_group):
    group = add_group(experimentType="Collect - Multiwedge")
    one, two = (add_collection(dataCollectionGroupId=group, numberOfImages=900) for _ in range(2))
    still = add_collection(dataCollectionGroupId=group, numberOfImages=1, axisRange=0.0)
    found = read(engine, one)
    directory = "/dls/i03/data/2024/mx12345-1/lys/x1"
    assert found["ispyb_dcg_dcids"] == [two, still]
    assert found["ispyb_related_sweeps"] == [(one, 1, 900), (two, 1, 900), (still, 1, 1)]
    assert found["ispyb_related_images"][1] == (two, f"{directory}/lys_2_00001.cbf")
    assert found["ispyb_images"] == f"{directory}/lys_2_00001.cbf:1:900"


def test_in_plate_sweeps_are_not_offered_together(engine, add_collection, add_group):
    group = add_group()
    place = {"dataCollectionGroupId": group, "imageDirectory": "/dls/mx/data/nt1/nt1-12/plate/"}
    one, _ = (add_collection(**place) for _ in range(2))
    assert read(engine, one)["ispyb_images"] == ""


def test_sample_of_the_group_counts_if_the_collection_names_none(engine, add_collection, add_group, facility):
    dcid = add_collection(BLSAMPLEID=None, dataCollectionGroupId=add_group(blSampleId=facility.sample))
    assert read(engine, dcid)["ispyb_space_group"] == "P41212"


def test_without_sample_there_is_no_cell_and_no_protein(engine, add_collection):
    found = read(engine, add_collection(BLSAMPLEID=None))
    assert (found["ispyb_space_group"], found["ispyb_unit_cell"]) == ("", False)
    assert (found["ispyb_protein_info"], found["ispyb_diffraction_plan"]) == ({}, {})
    assert found["ispyb_preferred_processing"] == "xia2/DIALS"


def test_incomplete_cell_is_no_cell(engine, add_collection, facility):
    with Session(engine) as session:
        session.get(models.Crystal, facility.crystal).cell_beta = None
        session.commit()
    assert read(engine, add_collection())["ispyb_unit_cell"] is False


def test_container_says_which_processing_is_preferred(engine, add_collection, facility):
    with Session(engine) as session:
        session.get(models.Container, facility.container).priorityPipelineId = 8
        session.commit()
    assert read(engine, add_collection())["ispyb_preferred_processing"] == "autoPROC"


def test_wells_of_a_pin_are_its_samples(engine, add_collection, facility):
    with Session(engine) as session:
        sample = session.get(models.BLSample, facility.sample)
        sample.loopType, sample.subLocation = "multipin_3x50+10", 1
        session.commit()
    other = add(
        engine,
        models.BLSample(
            crystalId=facility.crystal, containerId=facility.container, location="3", subLocation=2, name="x2"
        ),
    )
    add(engine, models.BLSample(crystalId=facility.crystal, containerId=facility.container, location="4", name="x3"))
    found = read(engine, add_collection())
    assert found["ispyb_pin_info"]["loopType"] == "multipin_3x50+10"
    assert found["ispyb_msp_sample_ids"] == {1: facility.sample, 2: other.blSampleId}


def test_beamline_outside_dls_has_its_visit_named_by_the_session(engine, add_collection, tmp_path):
    found = read(engine, add_collection(imageDirectory=f"{tmp_path}/mx12345-1/lys/"))
    assert found["ispyb_visit"] == "mx12345-1"
    assert found["ispyb_results_directory"] == f"{tmp_path}/mx12345-1/processed/lys/lys_1/guid-1"


def test_collection_of_which_little_is_known_can_be_read(engine, add_group):
    row = add(engine, models.DataCollection(dataCollectionGroupId=add_group(experimentType="EM")))
    found = read(engine, row.dataCollectionId)
    assert found["ispyb_dc_class"]["rotation"] is None
    assert (found["ispyb_results_directory"], found["ispyb_crystal"]) == (None, "DEFAULT")
    assert found.keys().isdisjoint({"ispyb_image", "ispyb_images", "ispyb_ssx_events"})
    assert found["ispyb_visit"] == "mx12345-1"


def test_unknown_collection_is_named(engine):
    with pytest.raises(UnknownDataCollection, match="4711"):
        read(engine, 4711)
    with pytest.raises(UnknownDataCollection, match="4711"):
        read_run_status(engine, 4711)


def test_run_status_is_read_as_it_changes(engine, add_collection):
    dcid = add_collection()
    assert read_run_status(engine, dcid) is None
    with Session(engine) as session:
        collection = session.get(models.DataCollection, dcid)
        collection.runStatus, collection.endTime = "DataCollection Successful", datetime(2024, 5, 1)
        session.commit()
    assert read_run_status(engine, dcid) == "DataCollection Successful"


def test_database_without_tables_says_how_to_make_them(tmp_path):
    empty = open_engine(f"sqlite:///{tmp_path}/empty.sqlite")
    make_file(empty)
    with pytest.raises(ConfigurationError, match="plaza ispyb create"):
        read(empty, 1)
    empty.dispose()
