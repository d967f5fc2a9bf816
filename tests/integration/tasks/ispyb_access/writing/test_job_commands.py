"""Jobs: their rows, that the same one is made once, how they are announced; and the commands that read."""

import asyncio
import logging

import pytest
from sqlalchemy import func, select, update

from tasks.ispyb_access.schema.tables import METADATA
from tasks.ispyb_access.writing.fulfilment import fulfil
from tasks.ispyb_access.writing.patience import write_patiently
from tasks.ispyb_access.writing.requests import Request
from tasks.ispyb_connector.storing import store_in_ispyb
from tasks.step.runner import try_step
from tests.support.interruptions import InterruptedRun
from tests.support.ispyb_fixtures import every_database as database  # noqa: F401  # a fixture

NODE = {"parameters": {"ispyb_command": "create_ispyb_job", "store_result": "job"}}
JOB, PARAMETER, SWEEP = (METADATA.tables[f"ProcessingJob{kind}"] for kind in ("", "Parameter", "ImageSweep"))


@pytest.fixture
def rows(engine):
    """Return some columns of all rows of a table, in the order of their keys."""

    def rows(table, *columns):
        with engine.connect() as connection:
            chosen = select(*(table.c[name] for name in columns)).order_by(*table.primary_key.columns)
            return [tuple(row) for row in connection.execute(chosen)]

    return rows


def invocation(dcid, **more):
    """What Zocalo's Mimas sends."""
    return {
        "DCID": dcid,
        "autostart": False,
        "comment": "",
        "displayname": "xia2 dials",
        "parameters": [{"key": "absorption_level", "value": "medium"}, {"key": "cc_half", "value": 0.1}],
        "recipe": "autoprocessing-xia2-dials",
        "source": "automatic",
        "sweeps": [],
        "triggervariables": [{"key": "statistic-cluster", "value": "iris"}],
    } | more


async def test_a_job_has_its_rows_and_is_announced(resources, rows, add_collection):
    dcid, other = add_collection(), add_collection()
    sweeps = [{"DCID": dcid, "start": 1, "end": 100}, {"DCID": other, "start": "5", "end": "10"}]
    outcome = await try_step(store_in_ispyb, NODE, [invocation(dcid, sweeps=sweeps, comment="again")], resources)
    held, result = outcome.sent
    job = result.payload["result"]
    assert (held.output, held.payload) == ("held", {"parameters": {"statistic-cluster": "iris", "ispyb_process": job}})
    assert held.environment["job"] == result.environment["job"] == job
    columns = "processingJobId", "dataCollectionId", "displayName", "comments", "recipe", "automatic"
    assert rows(JOB, *columns) == [(job, dcid, "xia2 dials", "again", "autoprocessing-xia2-dials", 1)]
    assert rows(PARAMETER, "parameterKey", "parameterValue") == [("absorption_level", "medium"), ("cc_half", "0.1")]
    assert rows(SWEEP, "processingJobId", "dataCollectionId", "startImage", "endImage") == [
        (job, dcid, 1, 100),
        (job, other, 5, 10),
    ]


async def test_a_job_that_starts_at_once_is_announced_elsewhere(resources, add_collection):
    outcome = await try_step(store_in_ispyb, NODE, [invocation(add_collection(), autostart=True)], resources)
    assert [send.output for send in outcome.sent] == ["trigger", "output"]


async def test_without_sweeps_all_images_are_processed(resources, rows, add_collection):
    dcid = add_collection(startImageNumber=11, numberOfImages=90)
    job = invocation(dcid, source="sarah", parameters={"d_min": 1.5, "empty": ""})
    assert (await try_step(store_in_ispyb, NODE, [job], resources)).refused == []
    assert rows(SWEEP, "dataCollectionId", "startImage", "endImage") == [(dcid, 11, 100)]
    assert rows(PARAMETER, "parameterKey", "parameterValue") == [("d_min", "1.5"), ("empty", "")]
    assert rows(JOB, "automatic") == [(0,)]


async def test_a_job_without_a_data_collection_has_sweeps(resources, rows, add_collection):
    sweeps = [{"DCID": add_collection(), "start": 0, "end": 0}]
    assert (await try_step(store_in_ispyb, NODE, [invocation(0, sweeps=sweeps)], resources)).refused == []
    assert (rows(JOB, "dataCollectionId"), rows(SWEEP, "startImage", "endImage")) == ([(None,)], [(0, 0)])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"DCID": None}, "DCID: Field required"),
        ({"DCID": "seven"}, "DCID: Input should be a valid integer"),
        ({"DCID": -1}, "DCID: Input should be greater than or equal to 0"),
        ({"DCID": 0}, "expected a data collection in DCID, or sweeps"),
        ({"DCID": 4711}, "no data collection 4711"),
        ({"DCID": 4711, "sweeps": [{"DCID": 4711, "start": 1, "end": 2}]}, "no DataCollection 4711"),
        ({"sweeps": [{"DCID": 4711, "start": 1, "end": 2}]}, "no DataCollection 4711"),
        ({"sweeps": [{"DCID": 1, "start": 3, "end": 2}]}, "expected end at or after start"),
        ({"sweeps": [{"DCID": 1, "start": 3}]}, "sweeps.0.end"),
        ({"sweeps": "all"}, "sweeps"),
        ({"recipe": "r" * 51}, "recipe: String should have at most 50 characters"),
        ({"parameters": [{"key": "k", "value": "v" * 1025}]}, "at most 1024 characters"),
        ({"parameters": [{"key": "k" * 81, "value": "v"}]}, "at most 80 characters"),
        ({"parameters": [{"key": "", "value": "v"}]}, "at least 1 character"),
        ({"parameters": [{"key": "k"}]}, "parameters.0.value: Field required"),
        ({"parameters": 5}, "parameters"),
        ({"autostart": "perhaps"}, "autostart"),
    ],
)
async def test_what_is_no_job_is_refused_and_nothing_is_written(changes, expected, resources, rows, add_collection):
    outcome = await try_step(store_in_ispyb, NODE, [invocation(add_collection(), **changes)], resources)
    ((_, error),) = outcome.refused
    assert expected in str(error)
    assert [rows(table, table.primary_key.columns[0].name) for table in (JOB, PARAMETER, SWEEP)] == [[], [], []]


@pytest.mark.parametrize("unknown", [{"startImageNumber": None}, {"numberOfImages": None}, {"numberOfImages": 0}])
async def test_a_collection_whose_images_are_not_known_needs_sweeps(unknown, resources, rows, add_collection):
    outcome = await try_step(store_in_ispyb, NODE, [invocation(add_collection(**unknown))], resources)
    assert "give the sweeps" in str(outcome.refused[0][1])
    assert rows(JOB, "processingJobId") == []


async def test_text_for_people_is_cut(resources, rows, add_collection):
    job = invocation(add_collection(), displayname="d" * 90, comment="c" * 300)
    await try_step(store_in_ispyb, NODE, [job], resources)
    assert rows(JOB, "displayName", "comments") == [("d" * 80, "c" * 255)]


@pytest.mark.parametrize("kills", [(0,), (1,), (2,), (3, 0), (0, 1, 2, 3), (1, 1, 1)])
async def test_a_job_is_made_and_announced_once_wherever_the_run_is_killed(kills, resources, rows, add_collection):
    wanted = [invocation(add_collection(), source=source, autostart=True) for source in ("automatic", "sarah")]
    run = InterruptedRun(store_in_ispyb, NODE, wanted, resources)
    for kill_at in kills:
        await run.process(kill_at)
    await run.process()
    jobs = [key for (key,) in rows(JOB, "processingJobId")]
    assert [output for output, _ in run.sent] == ["trigger", "output"] * 2
    assert [payload["parameters"]["ispyb_process"] for _, payload in run.sent[::2]] == jobs
    assert [payload["result"] for _, payload in run.sent[1::2]] == jobs
    assert (len(rows(PARAMETER, "parameterKey")), len(rows(SWEEP, "startImage"))) == (4, 2)


@pytest.mark.parametrize(
    ("change", "jobs"),
    [
        ({}, 1),
        ({"parameters": {"absorption_level": "medium", "cc_half": "0.1"}}, 1),
        ({"parameters": []}, 2),
        ({"triggervariables": {}}, 2),
        ({"recipe": "autoprocessing-fast-dp"}, 2),
        ({"autostart": True}, 2),
        ({"source": "sarah"}, 2),
    ],
)
async def test_an_automatic_job_is_made_once_though_two_messages_ask_for_it(
    change, jobs, resources, rows, add_collection
):
    first = invocation(add_collection())
    for run, wanted in (("run-1", first), ("run-2", first | change)):
        assert len((await try_step(store_in_ispyb, NODE, [wanted], resources, run)).sent) == 2
    assert len(rows(JOB, "processingJobId")) == jobs


async def test_a_person_may_ask_for_the_same_twice(resources, rows, add_collection):
    wanted = invocation(add_collection(), source="sarah")
    outcome = await try_step(store_in_ispyb, NODE, [wanted, wanted], resources, "run-1")
    assert len({send.payload["result"] for send in outcome.sent if send.output == "output"}) == 2
    assert len(rows(JOB, "processingJobId")) == 2


async def test_an_automatic_job_is_made_once_though_many_ask_at_once(resources, rows, add_collection):
    request = Request("create_ispyb_job", (invocation(add_collection()),), {})
    writers = (
        write_patiently(resources, lambda writer: fulfil(request, writer, None).value, logging.getLogger("test"))
        for _ in range(8)
    )
    (job,) = set(await asyncio.gather(*writers))
    assert (rows(JOB, "processingJobId"), len(rows(SWEEP, "startImage"))) == ([(job,)], 1)


async def test_jobs_of_a_list_are_announced_too(resources, rows, add_collection):
    node = {"parameters": {"ispyb_command": "multipart_message"}}
    items = [
        {"ispyb_command": "create_ispyb_job", **invocation(add_collection(), autostart=autostart)}
        for autostart in (True, False)
    ]
    outcome = await try_step(store_in_ispyb, node, [{"ispyb_command_list": items}], resources)
    assert [send.output for send in outcome.sent] == ["trigger", "held", "output"]


@pytest.fixture
def refusal(resources):
    """Return why a command is refused."""

    async def refusal(name, **parameters):
        node = {"parameters": {"ispyb_command": name}}
        ((_, error),) = (await try_step(store_in_ispyb, node, [parameters], resources)).refused
        return str(error)

    return refusal


def test_what_is_given_of_a_job_is_changed(run, rows, add_collection):
    job = run("create_ispyb_job", DCID=add_collection(), displayname="old", comment="old", recipe="r")
    assert run("update_ispyb_job", job_id=job, displayname="new", comment="c" * 300) == job
    assert run("update_ispyb_job", job_id=job) == job
    assert rows(JOB, "displayName", "comments", "recipe") == [("new", "c" * 255, "r")]


def test_programs_of_a_job_are_listed(run, engine, add_collection):
    job, other = (run("create_ispyb_job", DCID=add_collection(), displayname=name) for name in "ab")
    programs = [run("register_processing", program=name, rpid=job, cmdline="x") for name in ("xia2 dials", "dimple")]
    run("register_processing", program="another's", rpid=other)
    run("update_processing_status", program_id=programs[1], status="failure", message="no model")
    assert run("retrieve_programs_for_job_id", rpid=str(job)) == [
        {"id": programs[0], "commandLine": "x", "programs": "xia2 dials", "status": None, "message": None,
         "environment": None, "jobId": job},
        {"id": programs[1], "commandLine": "x", "programs": "dimple", "status": 0, "message": "no model",
         "environment": None, "jobId": job},
    ]  # fmt: skip


def test_files_of_a_program_are_listed(run, tmp_path):
    program = run("register_processing", program="fast_dp")
    assert run("retrieve_program_attachments_for_program_id", program_id=program) == []
    (tmp_path / "fast_dp.log").touch()
    file = {"file_name": "fast_dp.log", "file_path": str(tmp_path), "file_type": "log", "importance_rank": 2}
    key = run("add_program_attachment", program_id=program, **file)
    assert run("retrieve_program_attachments_for_program_id", program_id=program) == [
        {"attachmentId": key, "fileType": "Log", "filePath": str(tmp_path), "fileName": "fast_dp.log",
         "importanceRank": 2}
    ]  # fmt: skip


@pytest.mark.usefixtures("facility")
@pytest.mark.parametrize(
    "name",
    [
        {"visit": "mx12345-1"},
        {"visit": "mx12345"},
        {"visit": "MX12345-99"},
        {"proposalcode": "mx", "proposalnumber": "12345"},
        {"proposal_code": "MX", "proposal_number": 12345},
    ],
)
def test_a_proposals_title_is_found(run, name):
    assert run("retrieve_proposal_title", **name) == "Sweet protein"


@pytest.mark.usefixtures("facility")
@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [
        ("retrieve_proposal_title", {"visit": "mx54321-1"}, "no proposal mx54321"),
        ("retrieve_proposal_title", {"visit": "12345-1"}, "expected a visit such as mx12345-1, seen '12345-1'"),
        ("retrieve_proposal_title", {"proposalcode": "mx"}, "expected visit, or proposalcode and proposalnumber"),
        ("retrieve_programs_for_job_id", {"rpid": 4711}, "no ProcessingJob 4711"),
        ("retrieve_programs_for_job_id", {}, "rpid: Field required"),
        ("retrieve_program_attachments_for_program_id", {"program_id": 4711}, "no AutoProcProgram 4711"),
        ("retrieve_program_attachments_for_program_id", {"program_id": "x"}, "program_id: Input should be"),
        ("update_ispyb_job", {"job_id": 4711, "comment": "x"}, "no ProcessingJob 4711"),
        ("update_ispyb_job", {"job_id": 1, "recipe": "r" * 51}, "recipe: String should have at most 50"),
    ],
)
async def test_what_is_not_there_is_refused(refusal, name, parameters, expected):
    assert expected in await refusal(name, **parameters)


async def test_a_proposal_without_a_title_is_refused(engine, facility, refusal):
    proposal = METADATA.tables["Proposal"]
    with engine.begin() as connection:
        connection.execute(update(proposal).values(title=None))
        assert connection.scalar(select(func.count()).select_from(proposal)) == 1
    assert "no proposal mx12345 with a title" in await refusal("retrieve_proposal_title", visit="mx12345-1")
