"""The writer that calls ISPyB's stored procedures, on a database that has them.

PLAZA_TEST_ISPYB_PROCEDURES names it, such as mysql+mysqlconnector://user:password@host/ispyb: one for tests, which
add rows to it. Its user may call the procedures, and read and write the tables. Where it isn't set, procedures of our
own stand for Diamond's: that tries our side of the calls.
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
from sqlalchemy import Column, Connection, Engine, Table, func, inspect, select, text
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
from tests.support.ispyb_procedures import make_procedures
from tests.support.ispyb_script import SCRIPT, SWEPT, command

pytestmark = [
    pytest.mark.mariadb,
    pytest.mark.filterwarnings("ignore:Call to deprecated function stored_results"),
]

VARIABLE = "PLAZA_TEST_ISPYB_PROCEDURES"
OURS = "ispyb_of_procedures"
NOBODY = 987_654_321
# Times of writing; sessions, which differ; and what only the procedure looks up.
NOT_COMPARED = {"recordtimestamp", "bltimestamp", "createtime", "sessionid", "experimenttypeid"}
# What the procedure for per-image results takes but doesn't write.
PASSED_OVER = {
    *("inResTotal", "iceRings", "maxUnitCell", "pctSaturationTop50Peaks", "inResolutionOvrlSpots"),
    "binPopCutOffMethod2Res",
}


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    if address := os.environ.get(VARIABLE):
        engine = open_engine(make_url(address).set(drivername="mysql+pymysql"))
    else:
        server = request.getfixturevalue("mariadb")
        server.execute(f"CREATE DATABASE {OURS} CHARACTER SET latin1")  # as the public schema's, which is older, too
        engine = open_engine(server.make_database(OURS))
        server.execute(f"ALTER TABLE {OURS}.AutoProcProgram DROP COLUMN jobUuid")
        make_procedures(server, OURS)
    with engine.begin() as connection:
        connection.execute(ledger.CREATE_TABLE)
    yield engine
    engine.dispose()


@pytest.fixture
def writer(engine: Engine) -> Iterator[ProcedureWriter]:
    writer = ProcedureWriter(engine)
    yield writer
    writer.close()


def present_columns(connection: Connection, table: Table) -> list[Column[Any]]:
    """Return the columns of a table that the database has: its schema may be older than the models."""
    present = {column["name"].lower() for column in inspect(connection).get_columns(table.name)}
    return [column for column in table.columns if column.name.lower() in present]


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
        with Session(engine, expire_on_commit=False) as session:  # or all columns of the models would be read again
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
            statement = select(*present_columns(connection, model.__table__)).where(own == key)
            return dict(connection.execute(statement).mappings().one())

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
            statement = select(*present_columns(connection, table)).where(key > least).order_by(*table.primary_key)
            rows = connection.execute(statement).mappings().all()
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
