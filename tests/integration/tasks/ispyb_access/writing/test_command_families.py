"""What each command writes, row by row, and what it says of numbers that refer to nothing."""

from datetime import datetime
from types import SimpleNamespace

import pytest
from ispyb import sqlalchemy as models
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from blocks.errors import MessageRefused
from tasks.ispyb_access.writing.writer import SqlWriter
from tests.support.ispyb_commands import carry_out
from tests.support.ispyb_fixtures import every_database as database  # noqa: F401  # a fixture

STARTED, ENDED = "2024-05-01 12:00:00", "2024-05-01 12:05:00"
NOBODY = 4711


@pytest.fixture
def write(engine):
    """Carry out a command as messages do, in a transaction of its own."""
    writer = SqlWriter(engine)

    def write(name, **values):
        return carry_out(writer, name, **values)

    return write


@pytest.fixture
def rows(engine):
    """Return all rows of a table, oldest first, without what nobody wrote and without the time of writing."""

    def rows(model):
        stamps = {"recordTimeStamp", "bltimeStamp"}
        with Session(engine) as session:
            found = session.execute(select(model.__table__).order_by(*model.__table__.primary_key)).mappings()
            return [{k: v for k, v in row.items() if v is not None and k not in stamps} for row in found]

    return rows


@pytest.fixture
def known(facility, add_collection, add_group, write):
    """A data collection, processed and characterised."""
    group = add_group()
    dcid = add_collection(dataCollectionGroupId=group)
    program = write("register_processing", program="xia2 dials")
    autoproc = write("write_autoproc", program_id=program)
    scaling = write("insert_scaling", autoproc_id=autoproc, overall={}, innerShell={}, outerShell={})
    screening = write("insert_screening", dcid=dcid)
    output = write("insert_screening_output", screening_id=screening)
    strategy = write("insert_screening_strategy", screening_output_id=output)
    return SimpleNamespace(
        dcid=dcid, dcgid=group, session_id=facility.session, program_id=program, autoproc_id=autoproc,
        scaling_id=scaling, screening_id=screening, screening_output_id=output, screening_strategy_id=strategy,
        screening_strategy_wedge_id=write("insert_screening_strategy_wedge", screening_strategy_id=strategy),
        mxmr_run_id=write("insert_mxmr_run", scaling_id=scaling),
    )  # fmt: skip


# Screening


def test_screening_of_a_collection_is_of_its_group_too(write, rows, known):
    more = {"programversion": "EDNA MXv1", "shortcomments": "EDNAStrategy1", "comments": "fine"}
    key = write("insert_screening", dcid=known.dcid, autoprocprogramid=known.program_id, **more)
    assert rows(models.Screening)[-1] == {
        "screeningId": key, "dataCollectionId": known.dcid, "dataCollectionGroupId": known.dcgid,
        "programVersion": "EDNA MXv1", "shortComments": "EDNAStrategy1", "comments": "fine",
        "autoProcProgramId": known.program_id,
    }  # fmt: skip


def test_screening_of_a_group_has_no_collection(write, rows, known):
    key = write("insert_screening", dcgid=known.dcgid)
    assert rows(models.Screening)[-1] == {"screeningId": key, "dataCollectionGroupId": known.dcgid}


SCREENING = [
    (
        "insert_screening_input",
        models.ScreeningInput,
        "screening_id",
        {"beamx": "1.5", "beamY": 2.5, "rms_err_lim": 3.5, "min_fraction_indexed": 0.5, "max_fraction_rejected": 0.25,
         "min_signal2noise": 2},
        {"beamX": 1.5, "beamY": 2.5, "rmsErrorLimits": 3.5, "minimumFractionIndexed": 0.5,
         "maximumFractionRejected": 0.25, "minimumSignalToNoise": 2},
    ),
    (
        "insert_screening_output",
        models.ScreeningOutput,
        "screening_id",
        {"statusdescription": "ok", "rejectedreflections": 1, "resolutionobtained": 1.5, "spotdeviationr": 2.5,
         "spotdeviationtheta": 3.5, "beamshiftx": 4.5, "beamshifty": 5.5, "numspotsfound": 6, "numspotsused": 7,
         "numspotsrejected": 8, "mosaicity": 0.5, "ioversigma": 9.5, "diffractionrings": 1, "rankingresolution": 10.5,
         "program": "EDNA", "dosetotal": 11.5, "totalexposuretime": 12.5, "totalrotationrange": 13.5,
         "totalnoimages": 14, "rfriedel": 15.5, "alignmentSuccess": True},
        {"statusDescription": "ok", "rejectedReflections": 1, "resolutionObtained": 1.5, "spotDeviationR": 2.5,
         "spotDeviationTheta": 3.5, "beamShiftX": 4.5, "beamShiftY": 5.5, "numSpotsFound": 6, "numSpotsUsed": 7,
         "numSpotsRejected": 8, "mosaicity": 0.5, "iOverSigma": 9.5, "diffractionRings": 1, "rankingResolution": 10.5,
         "program": "EDNA", "doseTotal": 11.5, "totalExposureTime": 12.5, "totalRotationRange": 13.5,
         "totalNumberOfImages": 14, "rFriedel": 15.5, "alignmentSuccess": 1, "mosaicityEstimated": 1,
         "indexingSuccess": 1, "strategySuccess": 1, "SCREENINGSUCCESS": 0},
    ),
    (
        "insert_screening_output",
        models.ScreeningOutput,
        "screening_id",
        {},
        {"alignmentSuccess": 0, "mosaicityEstimated": 0, "indexingSuccess": 1, "strategySuccess": 1,
         "SCREENINGSUCCESS": 0},
    ),
    (
        "insert_screening_output_lattice",
        models.ScreeningOutputLattice,
        "screening_output_id",
        {"spacegroup": "P41212", "pointgroup": "422", "bravaislattice": "tP", "raworientationmatrixax": 1,
         "raworientationmatrixay": 2, "raworientationmatrixaz": 3, "raworientationmatrixbx": 4,
         "raworientationmatrixby": 5, "raworientationmatrixbz": 6, "raworientationmatrixcx": 7,
         "raworientationmatrixcy": 8, "raworientationmatrixcz": 9, "unitcella": 10, "unitcellb": 11, "unitcellc": 12,
         "unitcellalpha": 90, "unitcellbeta": 91, "unitcellgamma": 92, "labelitindexing": "1"},
        {"spaceGroup": "P41212", "pointGroup": "422", "bravaisLattice": "tP", "rawOrientationMatrix_a_x": 1,
         "rawOrientationMatrix_a_y": 2, "rawOrientationMatrix_a_z": 3, "rawOrientationMatrix_b_x": 4,
         "rawOrientationMatrix_b_y": 5, "rawOrientationMatrix_b_z": 6, "rawOrientationMatrix_c_x": 7,
         "rawOrientationMatrix_c_y": 8, "rawOrientationMatrix_c_z": 9, "unitCell_a": 10, "unitCell_b": 11,
         "unitCell_c": 12, "unitCell_alpha": 90, "unitCell_beta": 91, "unitCell_gamma": 92, "labelitIndexing": 1},
    ),
    (
        "insert_screening_strategy",
        models.ScreeningStrategy,
        "screening_output_id",
        {"phistart": 1, "phiend": 2, "rotation": 0.5, "exposuretime": 0.25, "resolution": 1.5, "completeness": 99.5,
         "multiplicity": 3.5, "program": "BEST", "rankingresolution": 1.75, "transmission": 12.5},
        {"phiStart": 1, "phiEnd": 2, "rotation": 0.5, "exposureTime": 0.25, "resolution": 1.5, "completeness": 99.5,
         "multiplicity": 3.5, "program": "BEST", "rankingResolution": 1.75, "transmission": 12.5, "anomalous": 0},
    ),
    (
        "insert_screening_strategy_wedge",
        models.ScreeningStrategyWedge,
        "screening_strategy_id",
        {"wedgenumber": "2", "resolution": 1.5, "completeness": 99.5, "multiplicity": 3.5, "dosetotal": 4.5,
         "noimages": 180, "phi": 5.5, "kappa": 6.5, "chi": 7.5, "comments": "first", "wavelength": 0.5},
        {"wedgeNumber": 2, "resolution": 1.5, "completeness": 99.5, "multiplicity": 3.5, "doseTotal": 4.5,
         "numberOfImages": 180, "phi": 5.5, "kappa": 6.5, "chi": 7.5, "comments": "first", "wavelength": 0.5},
    ),
    ("insert_screening_strategy_wedge", models.ScreeningStrategyWedge, "screening_strategy_id", {}, {"wedgeNumber": 1}),
    (
        "insert_screening_strategy_sub_wedge",
        models.ScreeningStrategySubWedge,
        "screening_strategy_wedge_id",
        {"subwedgenumber": 3, "rotationaxis": "omega", "axisstart": 1.5, "axisend": 2.5, "exposuretime": 0.25,
         "transmission": 12.5, "oscillationrange": 0.5, "completeness": 99.5, "multiplicity": 3.5, "resolution": 1.75,
         "dosetotal": 4.5, "noimages": 180, "comments": "x"},
        {"subWedgeNumber": 1, "rotationAxis": "omega", "axisStart": 1.5, "axisEnd": 2.5, "exposureTime": 0.25,
         "transmission": 12.5, "oscillationRange": 0.5, "completeness": 99.5, "multiplicity": 3.5, "RESOLUTION": 1.75,
         "doseTotal": 4.5, "numberOfImages": 180, "comments": "x"},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("command", "model", "parent", "given", "expected"), SCREENING)
def test_screening_goes_to_its_columns(write, rows, known, command, model, parent, given, expected):
    number = getattr(known, parent)
    key = write(command, **{parent: number}, **given)
    (own,) = model.__table__.primary_key.columns
    parents = {reference.parent.name: number for reference in model.__table__.foreign_keys}
    assert rows(model)[-1] == {own.name: key, **parents, **expected}


# Integration and merging

INTEGRATION = {
    "anom": "true", "beam_vec_x": 1, "beam_vec_y": 2, "beam_vec_z": 3, "cell_a": 4, "cell_b": 5, "cell_c": 6,
    "cell_alpha": 90, "cell_beta": 91, "cell_gamma": 92, "start_image_no": 1, "end_image_no": 1800,
    "refined_detector_dist": 250.5, "refined_xbeam": 7, "refined_ybeam": 8, "rot_axis_x": 9, "rot_axis_y": 10,
    "rot_axis_z": 11,
}  # fmt: skip
INTEGRATED = {
    "anomalous": 1, "beamVectorX": 1, "beamVectorY": 2, "beamVectorZ": 3, "cell_a": 4, "cell_b": 5, "cell_c": 6,
    "cell_alpha": 90, "cell_beta": 91, "cell_gamma": 92, "startImageNumber": 1, "endImageNumber": 1800,
    "refinedDetectorDistance": 250.5, "refinedXBeam": 7, "refinedYBeam": 8, "rotationAxisX": 9, "rotationAxisY": 10,
    "rotationAxisZ": 11,
}  # fmt: skip


@pytest.mark.parametrize("command", ["upsert_integration", "register_integration"])
def test_integration_is_inserted_and_filled_up(write, rows, known, command):
    key = write(command, dcid=known.dcid, program_id=known.program_id, scaling_id=known.scaling_id, **INTEGRATION)
    ids = {"autoProcIntegrationId": key, "dataCollectionId": known.dcid, "autoProcProgramId": known.program_id}
    assert rows(models.AutoProcIntegration) == [{**ids, **INTEGRATED}]
    (link,) = rows(models.AutoProcScalingHasInt)
    assert (link["autoProcIntegrationId"], link["autoProcScalingId"]) == (key, known.scaling_id)

    assert write(command, integration_id=str(key), dcid=known.dcid, cell_a="4.5", cell_b=None) == key
    assert rows(models.AutoProcIntegration) == [{**ids, **INTEGRATED, "cell_a": 4.5}]
    assert rows(models.AutoProcScalingHasInt) == [link]


def test_integration_belongs_to_the_scaling_that_came_last(write, rows, known):
    key = write("upsert_integration", dcid=known.dcid, scaling_id=known.scaling_id)
    other = write("upsert_integration", dcid=known.dcid, scaling_id=known.scaling_id)
    newer = write("insert_scaling", autoproc_id=known.autoproc_id, overall={}, innerShell={}, outerShell={})
    write("upsert_integration", integration_id=key, scaling_id=newer)
    links = {link["autoProcIntegrationId"]: link["autoProcScalingId"] for link in rows(models.AutoProcScalingHasInt)}
    assert links == {key: newer, other: known.scaling_id}


def test_integration_that_is_not_used_for_scaling_has_no_link(write, rows, known):
    key = write("upsert_integration", dcid=known.dcid)
    assert rows(models.AutoProcScalingHasInt) == []
    assert rows(models.AutoProcIntegration) == [
        {"autoProcIntegrationId": key, "dataCollectionId": known.dcid, "anomalous": 0}
    ]


def test_merging_result_is_inserted_and_filled_up(write, rows, known):
    cell = {f"refinedcell_{name}": number for number, name in enumerate(("a", "b", "c", "alpha", "beta", "gamma"), 1)}
    key = write("write_autoproc", program_id=known.program_id, spacegroup="P 41 21 2", **cell)
    assert write("write_autoproc", autoproc_id=key, refinedcell_a=7) == key
    assert rows(models.AutoProc)[-1] == {
        "autoProcId": key, "autoProcProgramId": known.program_id, "spaceGroup": "P 41 21 2", "refinedCell_a": 7,
        "refinedCell_b": 2, "refinedCell_c": 3, "refinedCell_alpha": 4, "refinedCell_beta": 5, "refinedCell_gamma": 6,
    }  # fmt: skip


STATISTICS = {
    "anom": "anomalous", "anom_completeness": "anomalousCompleteness", "anom_multiplicity": "anomalousMultiplicity",
    "cc_anom": "ccAnomalous", "cc_half": "ccHalf", "completeness": "completeness",
    "fract_partial_bias": "fractionalPartialBias", "mean_i_sig_i": "meanIOverSigI", "multiplicity": "multiplicity",
    "n_tot_obs": "nTotalObservations", "n_tot_unique_obs": "nTotalUniqueObservations",
    "r_meas_all_iplusi_minus": "rMeasAllIPlusIMinus", "r_meas_within_iplusi_minus": "rMeasWithinIPlusIMinus",
    "r_merge": "rMerge", "r_pim_all_iplusi_minus": "rPimAllIPlusIMinus",
    "r_pim_within_iplusi_minus": "rPimWithinIPlusIMinus", "res_i_sig_i_2": "resIOverSigI2",
    "res_lim_high": "resolutionLimitHigh", "res_lim_low": "resolutionLimitLow",
}  # fmt: skip


def test_scaling_has_three_shells(write, rows, known):
    shells = {
        kind: {name: number if name != "anom" else 1 for number, name in enumerate(STATISTICS, start)}
        for kind, start in (("overall", 10), ("innerShell", 40), ("outerShell", 70))
    }
    shells["overall"]["comments"] = "c" * 300
    key = write("insert_scaling", autoproc_id=known.autoproc_id, **shells)
    assert rows(models.AutoProcScaling)[-1] == {"autoProcScalingId": key, "autoProcId": known.autoproc_id}
    written = {row.pop("scalingStatisticsType"): row for row in rows(models.AutoProcScalingStatistics)[-3:]}
    assert written["overall"].pop("comments") == "c" * 255
    for kind, row in written.items():
        assert row.pop("autoProcScalingStatisticsId")
        shells[kind].pop("comments", None)
        expected = {STATISTICS[name]: value for name, value in shells[kind].items()}
        assert row == {"autoProcScalingId": key, **expected}


# Structures

RUN = {
    "success": "1", "message": "m" * 300, "pipeline": "dimple", "cmdline": "c" * 300, "rstart": 0.5, "rend": 0.25,
    "rfreestart": 0.75, "rfreeend": 0.375, "starttime": STARTED, "endtime": ENDED, "rundir": "/dls/run/",
    "inputcoordfile": "/dls/run/in.pdb", "inputmtzfile": "/dls/elsewhere/in.mtz", "outputcoordfile": "sub/out.pdb",
    "outputmtzfile": "/dls/run/out.mtz", "logfile": "/dls/run/dimple.log",
}  # fmt: skip


def test_run_has_a_program_with_its_files_once(write, rows, known, row):
    key = write("insert_mxmr_run", scaling_id=known.scaling_id, **RUN)
    assert write("insert_mxmr_run", id=key, scaling_id=known.scaling_id, **RUN) == key
    run = rows(models.MXMRRun)[-1]
    program = run.pop("autoProcProgramId")
    assert run == {
        "mxMRRunId": key, "autoProcScalingId": known.scaling_id, "rValueStart": 0.5, "rValueEnd": 0.25,
        "rFreeValueStart": 0.75, "rFreeValueEnd": 0.375,
    }  # fmt: skip
    assert row(models.AutoProcProgram, program) == {
        "autoProcProgramId": program, "processingCommandLine": "c" * 255, "processingPrograms": "dimple",
        "processingStatus": 1, "processingMessage": "m" * 255, "processingStartTime": datetime(2024, 5, 1, 12),
        "processingEndTime": datetime(2024, 5, 1, 12, 5),
    }  # fmt: skip
    files = rows(models.AutoProcProgramAttachment)
    assert {file["autoProcProgramId"] for file in files} == {program}
    assert [(file["fileType"], file["filePath"], file["fileName"], file.get("importanceRank")) for file in files] == [
        ("Input", "/dls/run", "in.pdb", None),
        ("Input", "/dls/elsewhere", "in.mtz", None),
        ("Result", "/dls/run", "sub/out.pdb", None),
        ("Result", "/dls/run", "out.mtz", None),
        ("Log", "/dls/run", "dimple.log", 0),
    ]


@pytest.fixture
def row(engine):
    """Return a row without what nobody wrote and without the time of writing."""

    def row(model, key):
        (own,) = model.__table__.primary_key.columns
        with engine.connect() as connection:
            found = connection.execute(select(model.__table__).where(own == key)).mappings().one()
            return {k: v for k, v in found.items() if v is not None and k != "recordTimeStamp"}

    return row


def test_changing_a_run_erases_nothing(write, rows, known, row):
    key = write("insert_mxmr_run", scaling_id=known.scaling_id, **RUN)
    write("insert_mxmr_run", id=key, scaling_id=known.scaling_id, rend=0.125, success=False)
    run = rows(models.MXMRRun)[-1]
    assert (run["rValueStart"], run["rValueEnd"]) == (0.5, 0.125)
    program = row(models.AutoProcProgram, run["autoProcProgramId"])
    assert (program["processingStatus"], program["processingStartTime"]) == (0, datetime(2024, 5, 1, 12))
    assert len(rows(models.AutoProcProgramAttachment)) == 5


def test_file_without_a_folder_is_still_named(write, rows, known):
    write("insert_mxmr_run", scaling_id=known.scaling_id, input_mtz_file="in.mtz", log_file="/dls/dimple.log")
    files = [(file.get("filePath"), file["fileName"]) for file in rows(models.AutoProcProgramAttachment)]
    assert files == [(None, "in.mtz"), ("/dls", "dimple.log")]


def test_failure_of_dimple_is_a_run_of_an_unknown_error(write, rows, known, row):
    write("store_dimple_failure", scaling_id=known.scaling_id, directory="/dls/run")
    program = row(models.AutoProcProgram, rows(models.MXMRRun)[-1]["autoProcProgramId"])
    assert program.pop("processingStartTime")
    assert program == {
        "autoProcProgramId": program["autoProcProgramId"], "processingPrograms": "dimple", "processingStatus": 0,
        "processingMessage": "Unknown error",
    }  # fmt: skip


def test_blob_is_inserted_and_filled_up(write, rows, known):
    views = {f"view{number}": f"blob{number}.png" for number in (1, 2, 3)}
    key = write("insert_mxmr_run_blob", mxmr_run_id=known.mxmr_run_id, x=1, y=2, z=3, maptype="ANOMALOUS", **views)
    write("insert_mxmr_run_blob", mxmr_run_id=known.mxmr_run_id, id=key, view1="new.png", height=7.5)
    assert rows(models.MXMRRunBlob) == [
        {"mxMRRunBlobId": key, "mxMRRunId": known.mxmr_run_id, **views, "view1": "new.png", "x": 1, "y": 2, "z": 3,
         "mapType": "anomalous", "height": 7.5}
    ]  # fmt: skip


ATOM = {"name": "ZN", "chain_id": "A", "res_seq": 301, "res_name": "ZN"}
RESULT = {
    "auto_proc_program": {"command_line": "dimple in.mtz", "programs": "dimple", "status": 1, "message": "done",
                          "start_time": STARTED, "end_time": ENDED},
    "blobs": [
        {"xyz": [1, 2, 3], "height": 8.5, "map_type": "difference", "occupancy": None, "filepath": None,
         "nearest_atom": ATOM, "nearest_atom_distance": 2.5, "view1": "v1.png", "view2": None, "view3": None},
        {"xyz": ["4", "5", "6"], "height": 5.5, "map_type": "anomalous", "filepath": "/dls/run/blob2.png",
         "nearest_atom": None},
    ],
    "attachments": [
        {"file_type": "result", "file_path": "/dls/run", "file_name": "final.pdb", "timestamp": ENDED,
         "importance_rank": 1},
        {"file_type": "input", "file_path": "/dls/run", "file_name": "in.mtz", "timestamp": ENDED},
    ],
}  # fmt: skip


@pytest.mark.parametrize("command", ["insert_dimple_result", "insert_metal_id_result"])
@pytest.mark.parametrize("has_program", [False, True])
def test_result_is_a_run_with_all_that_belongs_to_it(write, rows, known, row, command, has_program):
    ids = {"auto_proc_scaling_id": known.scaling_id}
    if has_program:
        ids["auto_proc_program_id"] = known.program_id
    figures = {"rwork_start": 0.5, "rwork_end": 0.25, "rfree_start": 0.75, "rfree_end": 0.375}
    key = write(command, mxmrrun={**ids, **figures, "space_group": "P1", "LLG": 120.5, "TFZ": 9.5}, **RESULT)
    run = rows(models.MXMRRun)[-1]
    program = run.pop("autoProcProgramId")
    assert (program == known.program_id) == has_program
    assert run == {
        "mxMRRunId": key, "autoProcScalingId": known.scaling_id, "rValueStart": 0.5, "rValueEnd": 0.25,
        "rFreeValueStart": 0.75, "rFreeValueEnd": 0.375, "spaceGroup": "P1", "LLG": 120.5, "TFZ": 9.5,
    }  # fmt: skip
    written = row(models.AutoProcProgram, program)
    written.pop("processingPipelineId", None)
    assert written == {
        "autoProcProgramId": program, "processingCommandLine": "dimple in.mtz", "processingPrograms": "dimple",
        "processingStatus": 1, "processingMessage": "done", "processingStartTime": datetime(2024, 5, 1, 12),
        "processingEndTime": datetime(2024, 5, 1, 12, 5),
    }  # fmt: skip
    first, second = rows(models.MXMRRunBlob)
    assert (first.pop("mxMRRunBlobId"), first.pop("mxMRRunId")) == (second.pop("mxMRRunBlobId") - 1, key)
    assert first == {
        "x": 1, "y": 2, "z": 3, "height": 8.5, "mapType": "difference", "nearestAtomName": "ZN",
        "nearestAtomChainId": "A", "nearestAtomResSeq": 301, "nearestAtomResName": "ZN", "nearestAtomDistance": 2.5,
        "view1": "v1.png",
    }  # fmt: skip
    assert second == {
        "mxMRRunId": key, "x": 4, "y": 5, "z": 6, "height": 5.5, "mapType": "anomalous",
        "filePath": "/dls/run/blob2.png",
    }  # fmt: skip
    files = [
        (file["fileType"], file["fileName"], file.get("importanceRank"))
        for file in rows(models.AutoProcProgramAttachment)
    ]
    assert files == [("Result", "final.pdb", 1), ("Input", "in.mtz", None)]


# Phasing

PHASING = {
    "PhasingContainer": {
        "PhasingAnalysis": {"recordTimeStamp": STARTED},
        "PhasingProgramRun": {"phasingCommandLine": "c" * 300, "phasingPrograms": "fast_ep", "phasingStatus": "1",
                              "phasingMessage": "ok", "phasingStartTime": STARTED, "phasingEndTime": ENDED},
        "PhasingProgramAttachment": [
            {"fileType": "Logfile", "fileName": "fastep_report.html", "filePath": "/dls/fast_ep",
             "recordTimeStamp": STARTED},
            {"fileType": "pdb", "fileName": "sad_fa.pdb", "filePath": "/dls/fast_ep"},
        ],
        "Phasing_has_ScalingContainer": {
            "PhasingStatistics": [
                {"numberOfBins": 2, "binNumber": number, "lowRes": 20.5, "highRes": 2.5, "metric": "<d\"/sig>",
                 "statisticsValue": "1.5", "nReflections": 100}
                for number in (1, 2)
            ]
        },
        "PreparePhasingData": {"spaceGroupId": None, "lowRes": 20, "highRes": 2.5},
        "SubstructureDetermination": [{"method": "SAD", "lowRes": 20, "highRes": 3}],
        "Phasing": {"solventContent": 0.5, "method": "shelxe", "enantiomorph": 1, "lowRes": 20, "highRes": 2},
        "ModelBuilding": [{"lowRes": 20, "highRes": 1.5}],
    }
}  # fmt: skip


def test_phasing_results_go_to_all_their_tables(write, rows, known):
    key = write("insert_phasing_analysis_results", scaling_id=known.scaling_id, phasing_results=PHASING)
    assert rows(models.PhasingAnalysis) == [{"phasingAnalysisId": key}]
    (link,) = rows(models.PhasingHasScaling)
    assert (link["phasingAnalysisId"], link["autoProcScalingId"]) == (key, known.scaling_id)
    (run,) = rows(models.PhasingProgramRun)
    number = run.pop("phasingProgramRunId")
    assert run == {
        "phasingCommandLine": "c" * 255, "phasingPrograms": "fast_ep", "phasingStatus": 1, "phasingMessage": "ok",
        "phasingStartTime": datetime(2024, 5, 1, 12), "phasingEndTime": datetime(2024, 5, 1, 12, 5),
    }  # fmt: skip
    files = [
        (file["phasingProgramRunId"], file["fileType"], file["fileName"])
        for file in rows(models.PhasingProgramAttachment)
    ]
    assert files == [(number, "Logfile", "fastep_report.html"), (number, "PDB", "sad_fa.pdb")]
    figures = rows(models.PhasingStatistics)
    assert [figure["binNumber"] for figure in figures] == [1, 2]
    assert {(figure["phasingHasScalingId1"], figure["metric"], figure["statisticsValue"]) for figure in figures} == {
        (link["phasingHasScalingId"], '<d"/sig>', 1.5)
    }
    stages = {
        models.PreparePhasingData: {"highRes": 2.5},
        models.SubstructureDetermination: {"highRes": 3, "method": "SAD"},
        models.Phasing: {"highRes": 2, "method": "shelxe", "solventContent": 0.5, "enantiomorph": 1},
        models.ModelBuilding: {"highRes": 1.5},
    }
    for model, expected in stages.items():
        (stage,) = rows(model)
        (own,) = model.__table__.primary_key.columns
        stage.pop(own.name)
        assert stage == {"phasingAnalysisId": key, "phasingProgramRunId": number, "lowRes": 20, **expected}


def test_phasing_that_came_to_little_is_written_too(write, rows, known):
    little = {"PhasingContainer": {"PhasingAnalysis": [{"recordTimeStamp": STARTED}]}}
    key = write("insert_phasing_analysis_results", scaling_id=known.scaling_id, phasing_results=little)
    assert rows(models.PhasingAnalysis) == [{"phasingAnalysisId": key}]
    assert rows(models.Phasing) == rows(models.PhasingStatistics) == rows(models.PhasingProgramAttachment) == []


# PDB files


@pytest.fixture
def protein(engine, facility):
    with engine.connect() as connection:
        return connection.scalar(select(models.Protein.proteinId))


def test_pdb_files_are_written_with_their_contents(write, rows, protein, tmp_path, caplog):
    (tmp_path / "a.pdb").write_text("CRYST1")
    (tmp_path / "b.pdb").write_bytes("AUTHOR Ångström".encode("latin1"))
    files = [str(tmp_path / name) for name in ("a.pdb", "missing.pdb", "b.pdb")]
    assert write("insert_pdb_files", protein_id=protein, source="AlphaFold", pdb_files=files) is None
    written = rows(models.PDB)
    assert [(pdb["name"], pdb["contents"], pdb["source"]) for pdb in written] == [
        ("a.pdb", "CRYST1", "AlphaFold"),
        ("b.pdb", "AUTHOR Ångström", "AlphaFold"),
    ]
    assert [(owner["proteinid"], owner["pdbid"]) for owner in rows(models.ProteinHasPDB)] == [
        (protein, pdb["pdbId"]) for pdb in written
    ]
    assert "missing.pdb isn't there" in caplog.text


# Data collections


def test_collection_of_a_new_group_is_of_its_session(write, rows, facility):
    group = write("insert_data_collection_group", session_id=facility.session, experiment_type="em", start_time=STARTED)
    assert rows(models.DataCollectionGroup) == [
        {"dataCollectionGroupId": group, "sessionId": facility.session, "experimentType": "EM",
         "startTime": datetime(2024, 5, 1, 12)}
    ]  # fmt: skip
    more = {"start_time": STARTED, "image_directory": "/dls/m02", "image_suffix": "tiff", "voltage": 300}
    given = write("insert_data_collection", dcgid=group, session_id=facility.session, **more)
    found = write("insert_data_collection", dcgid=group)
    first, second = rows(models.DataCollection)
    assert {name: first[name] for name in ("startTime", "imageDirectory", "imageSuffix", "voltage")} == {
        "startTime": datetime(2024, 5, 1, 12), "imageDirectory": "/dls/m02", "imageSuffix": "tiff", "voltage": 300
    }  # fmt: skip
    assert [(dc["dataCollectionId"], dc["dataCollectionGroupId"], dc["SESSIONID"]) for dc in (first, second)] == [
        (given, group, facility.session),
        (found, group, facility.session),
    ]


def test_snapshots_go_to_their_collection_and_erase_nothing(write, row, known):
    snapshots = {f"xtal_snapshot{number}": f"/dls/{number}.png" for number in (1, 2, 3, 4)}
    assert write("upsert_data_collection_mx", dcid=known.dcid, dcgid=known.dcgid, **snapshots) == known.dcid
    write("upsert_data_collection_mx", dcid=known.dcid, xtalsnapshot2="/dls/new.png")
    written = row(models.DataCollection, known.dcid)
    assert [written[f"xtalSnapshotFullPath{number}"] for number in (1, 2, 3, 4)] == [
        "/dls/1.png", "/dls/new.png", "/dls/3.png", "/dls/4.png",
    ]  # fmt: skip
    assert written["imagePrefix"] == "lys"


def test_snapshots_without_a_collection_make_one(write, row, known):
    key = write("upsert_data_collection_mx", dcgid=known.dcgid, xtal_snapshot1="/dls/1.png")
    assert row(models.DataCollection, key)["SESSIONID"] == known.session_id


# What is refused

SHELLS = {"overall": {}, "innerShell": {}, "outerShell": {}}
UNKNOWN = [
    ("add_datacollection_attachment", {"dcid": NOBODY, "file_name": "x.log"}, "dcid 4711", "DataCollection"),
    ("add_program_attachment", {"program_id": NOBODY, "file_name": "x.log"}, "program_id 4711", "AutoProcProgram"),
    ("add_program_message", {"program_id": NOBODY, "severity": "info"}, "program_id 4711", "AutoProcProgram"),
    ("insert_data_collection", {"dcgid": NOBODY}, "dcgid 4711", "DataCollectionGroup"),
    ("insert_data_collection", {"dcgid": "?", "session_id": NOBODY}, "session_id 4711", "BLSession"),
    ("insert_data_collection_group", {"session_id": NOBODY}, "session_id 4711", "BLSession"),
    ("insert_dimple_result", {"mxmrrun": {"auto_proc_scaling_id": NOBODY}, **RESULT}, "", "AutoProcScaling"),
    ("insert_dimple_result", {"mxmrrun": {"auto_proc_scaling_id": "?", "auto_proc_program_id": NOBODY}, **RESULT}, "",
     "AutoProcProgram"),
    ("insert_metal_id_result", {"mxmrrun": {"auto_proc_scaling_id": NOBODY}, **RESULT}, "", "AutoProcScaling"),
    ("insert_mxmr_run", {"scaling_id": NOBODY}, "scaling_id 4711", "AutoProcScaling"),
    ("insert_mxmr_run", {"scaling_id": "?", "id": NOBODY}, "id 4711", "MXMRRun"),
    ("insert_mxmr_run_blob", {"mxmr_run_id": NOBODY}, "mxmr_run_id 4711", "MXMRRun"),
    ("insert_mxmr_run_blob", {"mxmr_run_id": "?", "id": NOBODY}, "id 4711", "MXMRRunBlob"),
    ("insert_pdb_files", {"protein_id": NOBODY, "pdb_files": ["/x.pdb"]}, "protein_id 4711", "Protein"),
    ("insert_phasing_analysis_results", {"scaling_id": NOBODY, "phasing_results": PHASING}, "scaling_id 4711",
     "AutoProcScaling"),
    ("insert_scaling", {"autoproc_id": NOBODY, **SHELLS}, "autoproc_id 4711", "AutoProc"),
    ("insert_screening", {"dcid": NOBODY}, "dcid 4711", "DataCollection"),
    ("insert_screening", {"dcid": NOBODY, "dcgid": "?"}, "dcid 4711", "DataCollection"),
    ("insert_screening", {"dcgid": NOBODY}, "dcgid 4711", "DataCollectionGroup"),
    ("insert_screening", {"dcid": "?", "autoprocprogramid": NOBODY}, "auto_proc_program_id 4711", "AutoProcProgram"),
    ("insert_screening_input", {"screening_id": NOBODY}, "screening_id 4711", "Screening"),
    ("insert_screening_output", {"screening_id": NOBODY}, "screening_id 4711", "Screening"),
    ("insert_screening_output_lattice", {"screening_output_id": NOBODY}, "screening_output_id 4711", "ScreeningOutput"),
    ("insert_screening_strategy", {"screening_output_id": NOBODY}, "screening_output_id 4711", "ScreeningOutput"),
    ("insert_screening_strategy_wedge", {"screening_strategy_id": NOBODY}, "screening_strategy_id 4711",
     "ScreeningStrategy"),
    ("insert_screening_strategy_sub_wedge", {"screening_strategy_wedge_id": NOBODY}, "screening_strategy_wedge_id 4711",
     "ScreeningStrategyWedge"),
    ("insert_xray_centring", {"dcgid": NOBODY}, "dcgid 4711", "DataCollectionGroup"),
    ("insert_xray_centring", {"dcgid": "?", "results": [{"sample_id": NOBODY}]}, "dcgid", "BLSample"),
    ("register_integration", {"dcid": NOBODY}, "dcid 4711", "DataCollection"),
    ("register_processing", {"program": "fast_dp", "rpid": NOBODY}, "rpid 4711", "ProcessingJob"),
    ("store_dimple_failure", {"scaling_id": NOBODY}, "scaling_id 4711", "AutoProcScaling"),
    ("update_processing_status", {"program_id": NOBODY}, "program_id 4711", "AutoProcProgram"),
    ("update_program_name", {"program_id": NOBODY, "program": "x"}, "program_id 4711", "AutoProcProgram"),
    ("upsert_data_collection_mx", {"dcid": NOBODY}, "dcid 4711", "DataCollection"),
    ("upsert_data_collection_mx", {"dcgid": NOBODY}, "dcgid 4711", "DataCollectionGroup"),
    ("upsert_data_collection_mx", {"dcid": "?", "dcgid": NOBODY}, "dcgid 4711", "DataCollectionGroup"),
    ("upsert_integration", {"dcid": NOBODY}, "dcid 4711", "DataCollection"),
    ("upsert_integration", {"dcid": "?", "program_id": NOBODY}, "program_id 4711", "AutoProcProgram"),
    ("upsert_integration", {"dcid": "?", "scaling_id": NOBODY}, "scaling_id 4711", "AutoProcScaling"),
    ("upsert_integration", {"dcid": "?", "integration_id": NOBODY}, "integration_id 4711", "AutoProcIntegration"),
    ("write_autoproc", {"program_id": NOBODY}, "program_id 4711", "AutoProcProgram"),
    ("write_autoproc", {"autoproc_id": NOBODY}, "autoproc_id 4711", "AutoProc"),
]  # fmt: skip


def test_number_that_refers_to_nothing_is_refused_by_name(engine, write, known, tmp_path):
    """One after the other in one database: that nothing is written is part of it."""
    (tmp_path / "x.log").touch()
    before = counts(engine)
    for command, values, ids, table in UNKNOWN:
        given = {name: getattr(known, name) if value == "?" else value for name, value in values.items()}
        if "mxmrrun" in given:
            given["mxmrrun"] = {k: known.scaling_id if v == "?" else v for k, v in given["mxmrrun"].items()}
        with pytest.raises(MessageRefused) as refusal:
            write(command, file_path=str(tmp_path), **given)
        said = str(refusal.value)
        assert said.startswith(command), said
        assert f"ISPyB has no {table} {NOBODY}" in said, said
        assert ids in said.partition(": ")[0], said
    assert counts(engine) == before


def counts(engine):
    with engine.connect() as connection:
        tables = [
            table
            for table in models.Base.metadata.sorted_tables
            if table.name.startswith(("Auto", "Data", "MX", "Ph", "Scr", "X"))
        ]
        return {table.name: connection.scalar(select(func.count()).select_from(table)) for table in tables}
