"""The writer that calls ISPyB's stored procedures, on a database that has them.

PLAZA_TEST_ISPYB_PROCEDURES names it, such as mysql+mysqlconnector://user:password@host/ispyb: one for tests, which
add rows to it. Its user may call the procedures, and read and write the tables.
"""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from ispyb import sqlalchemy as models
from sqlalchemy import Engine, func, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from blocks.errors import DatabaseUnavailable, MessageRefused
from blocks.ispyb_connection import open_engine, transaction
from blocks.settings import Settings
from flows.resources import SiteResources
from tasks.ispyb_access.schema.tables import METADATA
from tasks.ispyb_access.writing import ledger
from tasks.ispyb_access.writing.commands.image_quality import PerImageResult
from tasks.ispyb_access.writing.composite_commands import MULTIPART
from tasks.ispyb_access.writing.fulfilment import fulfil
from tasks.ispyb_access.writing.procedures import procedure_writer
from tasks.ispyb_access.writing.procedures.procedure_writer import ProcedureWriter
from tasks.ispyb_access.writing.requests import Request
from tasks.ispyb_access.writing.writer import SqlWriter, Writer
from tests.support.ispyb_commands import carry_out

VARIABLE = "PLAZA_TEST_ISPYB_PROCEDURES"
NOBODY = 987_654_321
STARTED, ENDED = "2024-05-01 12:00:00", "2024-05-01 12:05:00"
# Times of writing; sessions, which differ; and what only the procedure looks up.
NOT_COMPARED = {"recordtimestamp", "bltimestamp", "createtime", "sessionid", "experimenttypeid"}
# What the procedure for per-image results takes but doesn't write.
PASSED_OVER = {
    *("inResTotal", "iceRings", "maxUnitCell", "pctSaturationTop50Peaks", "inResolutionOvrlSpots"),
    "binPopCutOffMethod2Res",
}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    address = os.environ.get(VARIABLE)
    if not address:
        pytest.skip(f"no ISPyB with stored procedures: set {VARIABLE} to the URL of one for tests")
    engine = open_engine(make_url(address).set(drivername="mysql+pymysql"))
    with engine.begin() as connection:
        connection.execute(ledger.CREATE_TABLE)
    yield engine
    engine.dispose()


@pytest.fixture
def writer(engine: Engine) -> Iterator[ProcedureWriter]:
    writer = ProcedureWriter(engine)
    yield writer
    writer.close()


@dataclass(frozen=True)
class Facility:
    """A session with a group of one data collection."""

    visit: str
    session_id: int
    dcgid: int
    dcid: int


@pytest.fixture
def add_facility(engine: Engine) -> Callable[[], Facility]:
    def add() -> Facility:
        with Session(engine) as session:
            person = models.Person(familyName="Crowfoot")
            session.add(person)
            session.flush()
            number = str(person.personId)  # one that no other proposal has
            proposal = models.Proposal(Person=person, proposalCode="zz", proposalNumber=number, title="Sweet protein")
            visit = models.BLSession(Proposal=proposal, beamLineName="i03", visit_number=1)
            session.add(visit)
            session.flush()
            group = models.DataCollectionGroup(sessionId=visit.sessionId, experimentType="SAD")
            session.add(group)
            session.flush()
            collection = models.DataCollection(
                SESSIONID=visit.sessionId,
                dataCollectionGroupId=group.dataCollectionGroupId,
                startImageNumber=1,
                numberOfImages=1800,
            )
            session.add(collection)
            session.commit()
            return Facility(f"zz{number}-1", visit.sessionId, group.dataCollectionGroupId, collection.dataCollectionId)

    return add


@pytest.fixture
def facility(add_facility: Callable[[], Facility]) -> Facility:
    return add_facility()


@pytest.fixture
def run(writer: ProcedureWriter) -> Callable[..., Any]:
    """Carry out a command by procedures."""

    def run(name: str, **values: Any) -> Any:
        return carry_out(writer, name, **values)

    return run


@pytest.fixture
def row(engine: Engine) -> Callable[..., dict[str, Any]]:
    def row(model: Any, key: int) -> dict[str, Any]:
        (own,) = model.__table__.primary_key.columns
        with engine.connect() as connection:
            return dict(connection.execute(select(model.__table__).where(own == key)).mappings().one())

    return row


@pytest.fixture
def count(engine: Engine) -> Callable[..., int]:
    """Count rows of a table that belong to something."""

    def count(name: str, **owner: int) -> int:
        table = METADATA.tables[name]
        conditions = [table.c[column] == number for column, number in owner.items()]
        with engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(table).where(*conditions))

    return count


# Both writers

SHELL = {
    "anom": True, "anom_completeness": 1.5, "anom_multiplicity": 2.5, "cc_anom": 3.5, "cc_half": 4.5, "comments": "c",
    "completeness": 5.5, "fract_partial_bias": 6.5, "mean_i_sig_i": 7.5, "multiplicity": 8.5, "n_tot_obs": 9,
    "n_tot_unique_obs": 10, "r_meas_all_iplusi_minus": 11.5, "r_meas_within_iplusi_minus": 12.5, "r_merge": 13.5,
    "r_pim_all_iplusi_minus": 14.5, "r_pim_within_iplusi_minus": 15.5, "res_i_sig_i_2": 16.5, "res_lim_high": 17.5,
    "res_lim_low": 18.5,
}  # fmt: skip
CELL = {"cell_a": 1.5, "cell_b": 2.5, "cell_c": 3.5, "cell_alpha": 4.5, "cell_beta": 5.5, "cell_gamma": 6.5}
MATRIX = {f"raw_orientation_matrix_{axis}_{part}": number for number, (axis, part) in enumerate(
    (axis, part) for axis in "abc" for part in "xyz"
)}  # fmt: skip
STAGE = {"spaceGroupId": None, "lowRes": 50.5, "highRes": 2.5}
PHASING = {
    "PhasingContainer": {
        "PhasingAnalysis": {"recordTimeStamp": STARTED},
        "PhasingProgramRun": [
            {"phasingCommandLine": "p" * 300, "phasingPrograms": "fast_ep", "phasingStatus": 1, "phasingMessage": "ok",
             "phasingStartTime": STARTED, "phasingEndTime": ENDED}
        ],
        "PhasingProgramAttachment": [
            {"fileType": "Map", "fileName": "x.map", "filePath": "/dls", "recordTimeStamp": ENDED},
            {"fileType": "Logfile", "fileName": "x.log", "filePath": "/dls", "recordTimeStamp": ENDED},
        ],
        "Phasing_has_ScalingContainer": {"PhasingStatistics": [
            {"numberOfBins": 2, "binNumber": 1, "lowRes": 50.5, "highRes": 3.5, "metric": "FOM",
             "statisticsValue": 0.5, "nReflections": 100},
            {"numberOfBins": 2, "binNumber": 2, "lowRes": 3.5, "highRes": 2.5, "metric": "FOM",
             "statisticsValue": None},
        ]},
        "PreparePhasingData": STAGE,
        "SubstructureDetermination": STAGE | {"method": "SAD"},
        "Phasing": STAGE | {"method": "solvent flattening", "solventContent": 0.5, "enantiomorph": True},
        "ModelBuilding": STAGE,
    }
}  # fmt: skip


def command(name: str, store_result: str | None = None, **values: Any) -> dict[str, Any]:
    return {"ispyb_command": name, **({"store_result": store_result} if store_result else {}), **values}


SWEPT = command("create_ispyb_job", DCID="$dcid")  # with sweeps, in which nothing is replaced
SCRIPT = [
    command("create_ispyb_job", "job", DCID="$dcid", displayname="d" * 100, comment="c" * 300, recipe="autoprocessing",
            source="automatic", parameters=[{"key": "k", "value": "v"}, {"key": "k", "value": "w"}], sweeps=[]),
    SWEPT,
    command("update_ispyb_job", job_id="$job", comment="again"),
    command("register_processing", "program", program="xia2 dials", cmdline="x" * 300, rpid="$job",
            environment={"a": 1, "b": "two"}),
    command("update_processing_status", program_id="$program", message="m" * 100, start_time=STARTED,
            update_time=STARTED),
    command("update_processing_status", program_id="$program", update_time="2024-05-01 11:00:00", message="older"),
    command("update_processing_status", program_id="$program", status="success", update_time=ENDED),
    command("update_processing_status", program_id="$program", status="failure", message="too late"),
    command("update_program_name", program_id="$program", program="too late"),
    command("add_program_message", program_id="$program", severity="warning", message="m" * 300, description="d" * 300),
    command("write_autoproc", "autoproc", program_id="$program", spacegroup="P 41 21 2",
            **{f"refined{name}": value for name, value in CELL.items()}),
    command("write_autoproc", autoproc_id="$autoproc", refinedcell_a=7.5),
    command("insert_scaling", "scaling", autoproc_id="$autoproc", overall=SHELL, innerShell={},
            outerShell={"cc_half": 1}),
    command("upsert_integration", "integration", dcid="$dcid", program_id="$program", scaling_id="$scaling", anom=True,
            beam_vec_x=1, beam_vec_y=2, beam_vec_z=3, start_image_no=1, end_image_no=1800, refined_detector_dist=250.5,
            refined_xbeam=7, refined_ybeam=8, rot_axis_x=9, rot_axis_y=10, rot_axis_z=11, **CELL),
    command("upsert_integration", integration_id="$integration", dcid="$dcid", scaling_id="$scaling", cell_a=8.5),
    command("register_integration", dcid="$dcid"),
    command("insert_mxmr_run", "run", scaling_id="$scaling", success=True, message="m" * 300, pipeline="dimple",
            cmdline="c" * 255, rstart=0.5, rend=0.25, rfreestart=0.75, rfreeend=0.375, starttime=STARTED,
            endtime=ENDED, rundir="/dls/run/", inputcoordfile="/dls/run/in.pdb", inputmtzfile="in.mtz",
            outputcoordfile="sub/out.pdb", outputmtzfile="/dls/run/out.mtz", logfile="/dls/run/dimple.log"),
    command("insert_mxmr_run", id="$run", scaling_id="$scaling", rend=0.125),
    command("insert_mxmr_run", scaling_id="$scaling", starttime=STARTED, log_file="/dls/dimple.log"),
    command("insert_mxmr_run_blob", "blob", mxmr_run_id="$run", view1="/dls/1.png", view2="/dls/2.png"),
    command("insert_mxmr_run_blob", id="$blob", mxmr_run_id="$run", view3="/dls/3.png"),
    command("insert_phasing_analysis_results", scaling_id="$scaling", phasing_results=PHASING),
    command("insert_phasing_analysis_results", scaling_id="$scaling",
            phasing_results={"PhasingContainer": {"PhasingAnalysis": {"recordTimeStamp": STARTED}}}),
    command("insert_screening", "screening", dcid="$dcid", programversion="EDNA", shortcomments="s" * 30, comments="c",
            autoprocprogramid="$program"),
    command("insert_screening_input", screening_id="$screening", beamx=1.5, beamy=2.5, rms_err_lim=3.5,
            min_fraction_indexed=0.5, max_fraction_rejected=0.25, min_signal2noise=2.5),
    command("insert_screening_output", "output", screening_id="$screening", statusdescription="ok",
            rejectedreflections=1, resolutionobtained=1.5, spotdeviationr=2.5, spotdeviationtheta=3.5, beamshiftx=4.5,
            beamshifty=5.5, numspotsfound=6, numspotsused=7, numspotsrejected=8, mosaicity=0.5, ioversigma=9.5,
            diffractionrings=1, rankingresolution=10.5, program="EDNA", dosetotal=11.5, totalexposuretime=12.5,
            totalrotationrange=13.5, totalnoimages=14, rfriedel=15.5, alignmentSuccess=True),
    command("insert_screening_output", screening_id="$screening"),
    command("insert_screening_output_lattice", screening_output_id="$output", spacegroup="P41212", pointgroup="422",
            bravaislattice="tP", labelitindexing=True, **MATRIX,
            **{f"unit_{name}": value for name, value in CELL.items()}),
    command("insert_screening_output_lattice", screening_output_id="$output"),
    command("insert_screening_strategy", "strategy", screening_output_id="$output", phistart=1, phiend=2, rotation=0.5,
            exposuretime=0.25, resolution=1.5, completeness=99.5, multiplicity=3.5, program="BEST",
            rankingresolution=1.75, transmission=12.5),
    command("insert_screening_strategy_wedge", "wedge", screening_strategy_id="$strategy", wedgenumber=2,
            resolution=1.5, completeness=99.5, multiplicity=3.5, dosetotal=4.5, noimages=180, phi=5.5, kappa=6.5,
            chi=7.5, comments="first", wavelength=0.5),
    command("insert_screening_strategy_sub_wedge", screening_strategy_wedge_id="$wedge", subwedgenumber=3,
            rotationaxis="omega", axisstart=1.5, axisend=2.5, exposuretime=0.25, transmission=12.5,
            oscillationrange=0.5, completeness=99.5, multiplicity=3.5, resolution=1.75, dosetotal=4.5, noimages=180,
            comments="x"),
    command("insert_data_collection_group", "group", session_id="$session_id", experiment_type="em",
            start_time=STARTED, comments="c"),
    command("insert_data_collection", "collection", dcgid="$group", start_time=STARTED, image_directory="/dls/em/",
            image_suffix="tiff", voltage=300.5),
    command("upsert_data_collection_mx", dcid="$collection", xtal_snapshot1="/dls/1.png", xtal_snapshot4="/dls/4.png"),
    command("upsert_data_collection_mx", dcgid="$group", xtal_snapshot2="/dls/2.png"),
    command("store_per_image_analysis_results", dcid="$dcid", **{"file-number": 7}, n_spots_total=5,
            n_spots_no_ice=4, estimated_d_min=2.5, total_intensity=100.5),
    command("store_per_image_analysis_results", dcid="$dcid", **{"file-pattern-index": 7}, dozor_score=1.5),
    command("store_per_image_analysis_results", dcid="$dcid", **{"file-number": 8}, n_spots_total=0),
    command("retrieve_programs_for_job_id", "programs", rpid="$job"),
    command("retrieve_proposal_title", visit="$visit"),
]  # fmt: skip

TABLES = [
    METADATA.tables[name]
    for name in (
        *("DataCollectionGroup", "DataCollection", "ImageQualityIndicators"),
        *("ProcessingJob", "ProcessingJobParameter", "ProcessingJobImageSweep"),
        *("AutoProcProgram", "AutoProcProgramAttachment", "AutoProcProgramMessage", "DataCollectionFileAttachment"),
        *("AutoProc", "AutoProcScaling", "AutoProcScalingStatistics", "AutoProcIntegration", "AutoProcScaling_has_Int"),
        *("MXMRRun", "MXMRRunBlob"),
        *("PhasingAnalysis", "Phasing_has_Scaling", "PhasingStatistics", "PhasingProgramRun"),
        *("PhasingProgramAttachment", "PreparePhasingData", "SubstructureDetermination", "Phasing", "ModelBuilding"),
        *("Screening", "ScreeningInput", "ScreeningOutput", "ScreeningOutputLattice", "ScreeningStrategy"),
        *("ScreeningStrategyWedge", "ScreeningStrategySubWedge"),
    )
]
BY_NUMBER = [table for table in TABLES if len(table.primary_key.columns) == 1]


def last_numbers(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        return {
            table.name: connection.scalar(select(func.max(table.primary_key.columns[0]))) or 0 for table in BY_NUMBER
        }


def rows_since(engine: Engine, last: dict[str, int]) -> dict[str, list[dict[str, Any]]]:
    """Return the new rows of all tables, whose numbers are told by their order in their tables."""
    found, order = {}, {}
    with engine.connect() as connection:
        for table in TABLES:
            key = table.primary_key.columns[0]
            least = last["DataCollection" if key.name == "dataCollectionId" else table.name]
            rows = connection.execute(select(table).where(key > least).order_by(*table.primary_key)).mappings().all()
            found[table.name] = rows
            if table in BY_NUMBER:
                order[table.name] = {row[key.name]: number for number, row in enumerate(rows)}

    def plain(table: Any, row: Any) -> dict[str, Any]:
        values = {name: value for name, value in row.items() if name.lower() not in NOT_COMPARED}
        for reference in table.foreign_keys:
            numbers = order.get(reference.column.table.name, {})
            name = reference.parent.name
            if name in values:
                values[name] = numbers.get(values[name], values[name])
        if table in BY_NUMBER:
            del values[table.primary_key.columns[0].name]
        elif "dataCollectionId" in values:  # of per-image results, whose table has no reference
            values["dataCollectionId"] = order["DataCollection"][values["dataCollectionId"]]
        return values

    return {table.name: [plain(table, row) for row in found[table.name]] for table in TABLES}


def carry_out_script(writer: Writer, facility: Facility, entry: str | None) -> Any:
    sweeps = [{"DCID": facility.dcid, "start": 3, "end": 5}]
    script = [item | {"sweeps": sweeps} if item is SWEPT else item for item in SCRIPT]
    request = Request(MULTIPART, ({"ispyb_command_list": script},), vars(facility))
    return fulfil(request, writer, entry)


def test_both_writers_write_the_same_rows(engine, writer, add_facility, count):
    written, outcomes = [], []
    for each in (SqlWriter(engine), writer):
        last = last_numbers(engine)
        facility = add_facility()
        outcomes.append(carry_out_script(each, facility, None))
        assert count("DataCollection", SESSIONID=facility.session_id) == 3
        written.append(rows_since(engine, last))
    by_sql, by_procedures = written
    for row in by_procedures["ImageQualityIndicators"]:
        assert [row[name] for name in PASSED_OVER] == [None] * len(PASSED_OVER)
    for row in (*by_sql["ImageQualityIndicators"], *by_procedures["ImageQualityIndicators"]):
        for name in PASSED_OVER:
            del row[name]
    own = {"AutoProcProgramAttachment", "DataCollectionFileAttachment"}  # the first by runs; see the next test
    assert all(rows or name in own for name, rows in by_sql.items())
    assert {name: len(rows) for name, rows in by_procedures.items()} == {n: len(rows) for n, rows in by_sql.items()}
    different = [
        f"{name} {number}: {column} is {value!r} by SQL, {by_procedures[name][number][column]!r} by procedures"
        for name, rows in by_sql.items()
        for number, row in enumerate(rows)
        for column, value in row.items()
        if by_procedures[name][number][column] != value
    ]
    assert different == []
    assert outcomes[1].value == outcomes[0].value == "Sweet protein"
    (first,), (second,) = (outcome.stored["programs"] for outcome in outcomes)
    assert {**first, "id": 0, "jobId": 0} == {**second, "id": 0, "jobId": 0}


def test_both_writers_attach_the_same_files(engine, writer, facility, tmp_path):
    (tmp_path / "x.log").touch()
    file = {"file_name": "x.log", "file_path": str(tmp_path), "file_type": "RESULT", "importance_rank": 1}
    script = [
        command("register_processing", "program", program="fast_dp"),
        command("add_program_attachment", program_id="$program", **file),
        command("add_program_attachment", program_id="$program", **file),
        command("add_datacollection_attachment", dcid=facility.dcid, **file | {"file_type": "xy"}),
        command("retrieve_program_attachments_for_program_id", "files", program_id="$program"),
    ]
    written, files = [], []
    for each in (SqlWriter(engine), writer):
        last = last_numbers(engine) | {"DataCollectionFileAttachment": 0}
        outcome = fulfil(Request(MULTIPART, ({"ispyb_command_list": script},), {}), each, None)
        rows = rows_since(engine, last)
        written.append((rows["AutoProcProgramAttachment"], rows["DataCollectionFileAttachment"][-1]))
        files.append([{**file, "attachmentId": 0} for file in outcome.stored["files"]])
    assert written[0] == written[1]
    assert files[0] == files[1]
    assert len(files[0]) == 1


# What the procedures hide


def test_changes_erase_nothing(run, row, facility):
    key = run("upsert_integration", dcid=facility.dcid, anom=True, cell_a=1.5)
    run("upsert_integration", integration_id=key, dcid=facility.dcid, cell_b=2.5)
    written = row(models.AutoProcIntegration, key)
    assert (written["anomalous"], written["cell_a"], written["cell_b"]) == (1, 1.5, 2.5)


def test_name_is_changed_of_a_program_that_runs(run, row):
    program = run("register_processing", program="xia2")
    run("update_program_name", program_id=program, program="xia2 dials")
    written = row(models.AutoProcProgram, program)
    assert written["processingPrograms"] == "xia2 dials"
    assert written["processingStartTime"] is not None


def test_program_is_written_without_its_parent_and_the_log_says_so(run, row, caplog):
    autoproc = run("write_autoproc", program_id=run("register_processing", program="xia2 dials"))
    scaling = run("insert_scaling", autoproc_id=autoproc, overall={}, innerShell={}, outerShell={})
    program = run("register_processing", program="dimple", scaling_id=scaling)
    written = row(models.AutoProcProgram, program)
    assert (written["parentAutoProcProgramId"], written["processingPipelineId"]) == (None, 10)
    assert "without its parent" in caplog.text


def test_dimple_failure_is_a_run_of_an_unknown_error(run, row):
    autoproc = run("write_autoproc", program_id=run("register_processing", program="xia2 dials"))
    scaling = run("insert_scaling", autoproc_id=autoproc, overall={}, innerShell={}, outerShell={})
    written = row(models.MXMRRun, run("store_dimple_failure", scaling_id=scaling, directory="/dls/run"))
    program = row(models.AutoProcProgram, written["autoProcProgramId"])
    assert (program["processingStatus"], program["processingMessage"]) == (0, "Unknown error")


def test_images_are_written_one_by_one(writer, engine, facility, count):
    results = [
        PerImageResult.model_validate({"dcid": facility.dcid, "file-number": number, "n_spots_total": number})
        for number in (3, 1, 2, 1)
    ]
    for _ in range(2):
        writer.write_images(results)
    assert count("ImageQualityIndicators", dataCollectionId=facility.dcid) == 3


# What is refused

EMPTY = {"overall": {}, "innerShell": {}, "outerShell": {}}


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("add_program_message", {"program_id": NOBODY, "severity": "INFO"}, "column autoProcProgramId"),
        ("insert_scaling", {"autoproc_id": NOBODY, **EMPTY}, "column autoProcId"),
        ("register_processing", {"program": "x", "rpid": NOBODY}, "column processingJobId"),
        ("update_ispyb_job", {"job_id": NOBODY, "comment": "x"}, f"no ProcessingJob {NOBODY}"),
        ("create_ispyb_job", {"DCID": NOBODY}, f"no data collection {NOBODY}"),
        ("create_ispyb_job", {"DCID": 0, "sweeps": [{"DCID": 1, "start": 1, "end": 2}]}, "procedures make no job"),
        ("retrieve_programs_for_job_id", {"rpid": NOBODY}, f"no ProcessingJob {NOBODY}"),
        ("retrieve_proposal_title", {"visit": "zy99999-1"}, "no proposal zy99999"),
        ("insert_data_collection", {"dcgid": NOBODY}, f"no DataCollectionGroup {NOBODY}"),
        ("insert_data_collection_group", {"session_id": NOBODY}, "column sessionId"),
        ("upsert_data_collection_mx", {"dcid": NOBODY}, f"no DataCollection {NOBODY}"),
        ("insert_mxmr_run", {"scaling_id": 1, "log_file": "x.log"}, "expected run_dir"),
        ("insert_mxmr_run", {"scaling_id": 1, "pipeline": "p" * 51}, "1406"),
        ("insert_mxmr_run_blob", {"mxmr_run_id": 1, "x": 1, "height": 2}, "would lose height, x"),
        ("upsert_integration", {"integration_id": 1, "cell_a": 2}, "expected dcid"),
        ("insert_xray_centring", {"dcid": 1}, "can't do that: .*PLAZA_ISPYB_WRITER=sql"),
        ("insert_pdb_files", {"protein_id": 1, "pdb_files": ["x"]}, "nothing writes PDB files"),
    ],
)
def test_refusal_names_the_command_and_the_fault(run, name, values, expected):
    with pytest.raises(MessageRefused, match=rf"^{name}.*: .*{expected}"):
        run(name, **values)


def test_characters_that_a_database_can_not_hold_are_replaced_or_refused(engine, run):
    with engine.connect() as connection:
        character_set = connection.scalar(text("SELECT @@character_set_database"))
    if character_set != "latin1":
        pytest.skip(f"the database's character set is {character_set}: it holds all characters")
    program = run("register_processing", program="fast_dp", cmdline="Å")
    message = run("add_program_message", program_id=program, severity="INFO", message="σ(I)")
    with Session(engine) as session:
        assert session.get(models.AutoProcProgramMessage, message).message == "sigma(I)"
    with pytest.raises(MessageRefused, match=r"expected characters of latin1.* seen 'σ'"):
        run("register_processing", program="σ")


# At least once

LIST = [
    command("register_processing", "program", program="fast_dp", rpid="$rpid"),
    command("add_program_message", program_id="$program", severity="INFO", message="$text"),
]


@pytest.fixture
def job(run, facility):
    return run("create_ispyb_job", DCID=facility.dcid)


def write_list(writer: Writer, job: int, entry: str, **environment: Any) -> Any:
    request = Request(MULTIPART, ({"ispyb_command_list": LIST},), {"rpid": job, "text": "fine", **environment})
    return fulfil(request, writer, entry)


def test_message_that_comes_again_is_not_written_again_and_has_the_same_answer(writer, job, count):
    first, again = (write_list(writer, job, f"again/{job}") for _ in range(2))
    assert first == again
    assert count("AutoProcProgram", processingJobId=job) == 1
    assert count("AutoProcProgramMessage", autoProcProgramId=first.values[0]) == 1


def test_list_that_failed_stays_written_up_to_there_and_goes_on_from_there(writer, job, count, monkeypatch):
    refused = pytest.raises(MessageRefused, match=r"step 2 of 2: .*; the steps before it stay written")
    with monkeypatch.context() as patch, refused:
        patch.setitem(procedure_writer.NOT_COVERED, "add_program_message", "for a test")
        write_list(writer, job, f"failed/{job}")
    assert count("AutoProcProgram", processingJobId=job) == 1
    outcome = write_list(writer, job, f"failed/{job}")
    assert count("AutoProcProgram", processingJobId=job) == 1
    assert count("AutoProcProgramMessage", autoProcProgramId=outcome.values[0]) == 1


def test_command_whose_entry_was_lost_is_written_twice(writer, job, count, monkeypatch):
    """This is what can't be promised: the procedure has committed, the ledger hasn't."""

    @contextmanager
    def lost(engine):
        with transaction(engine) as connection:
            yield connection
            raise DatabaseUnavailable("killed")

    with monkeypatch.context() as patch:
        patch.setattr(procedure_writer, "transaction", lost)
        with pytest.raises(DatabaseUnavailable):
            write_list(writer, job, f"lost/{job}")
    write_list(writer, job, f"lost/{job}")
    assert count("AutoProcProgram", processingJobId=job) == 2


def test_without_a_ledger_all_is_written_again(writer, job, count, monkeypatch):
    monkeypatch.setattr(procedure_writer, "has_ledger", lambda engine: False)
    for _ in range(2):
        write_list(writer, job, f"none/{job}")
    assert count("AutoProcProgram", processingJobId=job) == 2


def test_automatic_job_is_made_once_whoever_asks_for_it(writer, facility, count):
    values = {"DCID": facility.dcid, "source": "automatic", "parameters": [{"key": "k", "value": "v"}]}
    keys = {carry_out(writer, "create_ispyb_job", entry=entry, **values) for entry in ("a", "b")}
    assert len(keys) == 1
    assert count("ProcessingJob", dataCollectionId=facility.dcid) == 1
    assert count("ProcessingJobParameter", processingJobId=keys.pop()) == 1


# The connection


def connections(engine: Engine) -> list[int]:
    """Return the numbers of our user's connections, but for the one that asks."""
    with engine.connect() as connection:
        own = connection.scalar(text("SELECT CONNECTION_ID()"))
        query = "SELECT id FROM information_schema.processlist WHERE user = SUBSTRING_INDEX(USER(), '@', 1)"
        return [number for (number,) in connection.execute(text(query)) if number != own]


def test_connection_that_was_ended_is_made_anew(writer, run, engine):
    before = set(connections(engine))
    run("register_processing", program="fast_dp")
    ended = set(connections(engine)) - before
    assert len(ended) == 1
    with engine.connect() as connection:
        connection.execute(text(f"KILL {ended.pop()}"))
    assert run("register_processing", program="fast_dp")


def test_threads_take_turns(writer, job, count):
    def write(number: int) -> int:
        return write_list(writer, job, f"thread/{job}/{number}", text=f"by {number}").values[0]

    with ThreadPoolExecutor(8) as pool:
        programs = list(pool.map(write, range(40)))
    assert len(set(programs)) == 40
    assert count("AutoProcProgram", processingJobId=job) == 40
    assert all(count("AutoProcProgramMessage", autoProcProgramId=program) == 1 for program in programs)


async def test_resources_close_the_connection(engine, tmp_path):
    before = set(connections(engine))
    url = engine.url.render_as_string(hide_password=False)
    settings = Settings(home=tmp_path, ispyb_url=url, ispyb_writer="procedures")
    async with SiteResources(settings) as resources:
        carry_out(resources.ispyb_writer, "register_processing", program="fast_dp")
        opened = set(connections(engine)) - before
        assert opened
    for number in opened:
        await_end(engine, number)


def await_end(engine: Engine, number: int) -> None:
    """Wait until a connection is gone; the test's time limit ends that."""
    while number in connections(engine):
        time.sleep(0.01)
