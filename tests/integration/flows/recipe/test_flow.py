"""A recipe file as a Prefect flow, on a real Prefect server."""

import asyncio
import json
import re
import socket
from hashlib import sha256
from uuid import uuid4

import httpx
import pytest
from prefect import tags as prefect_tags
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound, Pause
from prefect.states import Cancelling, Suspended

from blocks.retrying import Pauses
from blocks.settings import get_settings
from flows.recipe import publishing
from flows.recipe.flow import recipe_flow
from flows.recipe.run_record.dead_letters.store import DeadLetters
from flows.recipe.run_record.folder import run_folder
from flows.recipe.run_record.history import read_history
from flows.recipe.run_record.resumption import take_up

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]


@pytest.fixture
def control_computer():
    """GDA's UDP port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gda:
        gda.bind(("127.0.0.1", 0))
        gda.settimeout(60)
        yield gda


@pytest.fixture
def run_recipe(tmp_path, monkeypatch):
    monkeypatch.setenv("PLAZA_HOME", str(tmp_path / "home"))
    get_settings.cache_clear()

    async def run(document, dcid=None, **parameters):
        path = tmp_path / "tried-recipe.json"
        path.write_text(json.dumps(document))
        state = await recipe_flow("tried-recipe", path)(dcid=dcid, parameters=parameters, return_state=True)
        return state, state.state_details.flow_run_id

    yield run
    get_settings.cache_clear()


async def task_runs(flow_run_id, expected):
    """Names and final states of a run's task runs; the server learns of them by events, so a little later."""
    async with asyncio.timeout(60), get_client() as client:
        while True:
            runs = await client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id])))
            states = {run.name: run.state.type.value for run in runs if run.state is not None and run.state.is_final()}
            if len(states) == len(runs) >= expected:
                return states
            await asyncio.sleep(0.1)


def watching(files, port, **outputs):
    return {
        "1": {
            "queue": "filewatcher",
            "parameters": {"list": files, "timeout": "{t}"},
            "output": outputs or {"every": 2, "timeout": 3},
        },
        "2": {"queue": "notify_gda", "parameters": {"dcid": "7", "host": "127.0.0.1", "port": port}},
        "3": {"queue": "images", "parameters": {"image_command": "unheard-of"}},
        "start": [[1, []]],
    }


async def test_every_node_that_gets_a_message_is_a_task_run(run_recipe, control_computer, tmp_path):
    files = [str(tmp_path / f"{name}.cbf") for name in "ab"]
    for file in files:
        with open(file, "w") as image:  # noqa: PTH123
            image.write("image")
    recipe = watching(files, control_computer.getsockname()[1])
    state, flow_run_id = await run_recipe(recipe, t=5)
    assert state.is_failed()  # the file watcher's payload has no image number in list mode, which GDA needs
    assert "step 2 · notify_gda: 2 of 2 messages refused" in state.message
    assert await task_runs(flow_run_id, 2) == {"1 · watch_files": "COMPLETED", "2 · notify_gda": "FAILED"}
    assert [letter.payload["file"] for letter in DeadLetters().all(str(flow_run_id))] == files


async def test_a_pattern_reaches_gda_image_by_image(run_recipe, control_computer, tmp_path):
    for number in (5, 6, 7):
        (tmp_path / f"x_{number:03d}.cbf").write_text("image")
    recipe = watching([], control_computer.getsockname()[1], every=2)
    recipe["1"]["parameters"] = {"pattern": f"{tmp_path}/x_%03d.cbf", "pattern-start": "5", "pattern-end": "7"}
    del recipe["3"]
    state, flow_run_id = await run_recipe(recipe)
    assert state.is_completed(), state.message
    assert [control_computer.recv(200).decode("latin-1").split(":")[:3] for _ in range(3)] == [
        ["PIA", "7", number] for number in "567"
    ]
    async with get_client() as client:
        artifacts = await client.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
        )
    [table] = [artifact for artifact in artifacts if artifact.key == "recipe-steps"]
    assert [row["messages in"] for row in json.loads(table.data)] == [1, 3]


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({"1": {"queue": "images", "output": 1}, "start": [[1, []]]}, "cycle: 1 -> 1"),
        ({"1": {"queue": "crystal.ball"}, "start": [[1, []]]}, "node 1 asks for queue 'crystal.ball'"),
        ({"1": {"queue": "images", "parameters": {"input": "{t[x]}"}}, "start": [[1, []]]}, "node 1: placeholders in"),
    ],
)
async def test_a_recipe_that_can_not_run_says_why_and_runs_nothing(run_recipe, document, complaint):
    state, flow_run_id = await run_recipe(document, t={})
    assert state.is_failed()
    assert complaint in state.message
    assert await task_runs(flow_run_id, 0) == {}


async def test_a_run_that_could_not_begin_is_shown_as_failed_with_the_reason(run_recipe, tmp_path):
    _, flow_run_id = await run_recipe({"1": {"queue": "crystal.ball"}, "start": [[1, []]]})
    history = read_history(run_folder(str(flow_run_id)))
    assert history.headline.startswith("Failed: UnknownStep: node 1 asks for queue")
    assert history.manifest.digest == sha256((tmp_path / "tried-recipe.json").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("parameters", "name"), [({}, "tried-recipe"), ({"ispyb_dcid": 7, "dcid": 7}, "tried-recipe · dcid 7")]
)
async def test_a_run_is_named_by_its_recipe_and_its_data_collection(run_recipe, parameters, name):
    _, flow_run_id = await run_recipe({"1": {"queue": "crystal.ball"}, "start": [[1, []]]}, **parameters)
    async with get_client() as client:
        assert (await client.read_flow_run(flow_run_id)).name == name


async def test_a_pattern_without_a_field_refuses_the_message_and_names_the_pattern(run_recipe):
    watcher = {"queue": "filewatcher", "parameters": {"pattern": "/x.cbf", "pattern-start": "1", "pattern-end": "2"}}
    state, _ = await run_recipe(
        {"1": {**watcher, "output": {"every": 2}}, "2": {"queue": "images"}, "start": [[1, []]]}
    )
    assert state.is_failed()
    assert "/x.cbf" in state.message


@pytest.mark.parametrize(
    ("file", "complaint"),
    [
        ("no-such-folder/ispyb.sqlite", "MissingDatabase: there is no ISPyB at .*: make it with `plaza ispyb create`"),
        ("", "DatabaseUnavailable: ISPyB at .* unable to open database file"),
        ("without-tables.sqlite", "ConfigurationError: .* lacks a table.*plaza ispyb create"),
    ],
)
async def test_a_database_that_can_not_be_used_fails_the_run_with_what_to_do(
    run_recipe, tmp_path, monkeypatch, file, complaint
):
    (tmp_path / "without-tables.sqlite").touch()
    monkeypatch.setenv("PLAZA_ISPYB_URL", f"sqlite:///{tmp_path}/{file}")
    monkeypatch.setattr("flows.recipe.ispyb_reading.OUTAGE_PATIENCE_S", 0.1)
    get_settings.cache_clear()
    state, _ = await run_recipe({"1": {"queue": "images"}, "start": [[1, []]]}, dcid=1)
    assert state.is_failed()
    assert re.search(complaint, state.message)


async def test_the_work_is_done_and_told_though_prefect_s_api_is_away_for_a_while(
    run_recipe, control_computer, tmp_path, monkeypatch
):
    told = PrefectClient.create_artifact
    calls = []

    async def away(client, artifact):
        calls.append(artifact.key)
        if artifact.key == "recipe-run" or (artifact.key == "recipe-steps" and calls.count("recipe-steps") == 3):
            return await told(client, artifact)
        raise httpx.ConnectError("All connection attempts failed")

    monkeypatch.setattr(PrefectClient, "create_artifact", away)
    monkeypatch.setattr(publishing, "PROGRESS_INTERVAL_S", 0.02)
    monkeypatch.setattr(publishing, "API_PAUSES", Pauses(0.02, 0.02))
    recipe = watching([], control_computer.getsockname()[1], every=2)
    recipe["1"]["parameters"] = {"pattern": f"{tmp_path}/x_%03d.cbf", "pattern-start": "1", "pattern-end": "2"}
    del recipe["3"]
    (tmp_path / "x_001.cbf").write_text("image")
    running = asyncio.create_task(run_recipe(recipe))
    async with asyncio.timeout(60):
        while "recipe-progress" not in calls:
            await asyncio.sleep(0.01)
    (tmp_path / "x_002.cbf").write_text("image")
    state, _ = await running
    assert state.is_completed(), state.message
    assert [control_computer.recv(200).decode("latin-1").split(":")[2] for _ in range(2)] == ["1", "2"]
    assert calls.count("recipe-steps") == 3


WATCHED = {"1": {"queue": "filewatcher", "parameters": {"list": []}, "output": {"finally": 2}}}
DONE_AT_ONCE = {**WATCHED, "2": {"queue": "filewatcher", "parameters": {"list": []}}, "start": [[1, []]]}
OF_A_COLLECTION = {"ispyb_dc_info": {}, "ispyb_beamline": "i03", "ispyb_visit": "mx12345-1"}


@pytest.mark.parametrize(
    ("dcid", "parameters", "given", "tags"),
    [
        (7, OF_A_COLLECTION, [], {"dcid:7", "i03", "mx12345-1"}),
        (7, OF_A_COLLECTION, ["mine", "i03"], {"mine", "dcid:7", "i03", "mx12345-1"}),
        (None, {"ispyb_visit": "a\x1bb" + "c" * 500}, [], {"a bccc…"}),
        (None, {}, [], set()),
    ],
)
async def test_a_run_started_by_hand_gets_its_collection_beamline_and_visit_as_tags(
    run_recipe, dcid, parameters, given, tags
):
    with prefect_tags(*given):
        state, flow_run_id = await run_recipe(DONE_AT_ONCE, dcid=dcid, **parameters)
    assert state.is_completed(), state.message
    async with get_client() as client:
        run = await client.read_flow_run(flow_run_id)
    assert {tag if len(tag) < 50 else f"{tag[:6]}…" for tag in run.tags} == tags
    assert len(run.tags) == len(tags)


@pytest.mark.parametrize("parameters", [{"dcid": 7}, {"ispyb_dcid": "7"}])
async def test_a_run_that_could_not_begin_has_the_tags_that_are_known(run_recipe, parameters):
    unknown = {"1": {"queue": "crystal.ball"}, "start": [[1, []]]}
    state, flow_run_id = await run_recipe(unknown, **parameters, ispyb_beamline="i03")
    assert state.is_failed()
    async with get_client() as client:
        run = await client.read_flow_run(flow_run_id)
    assert set(run.tags) == {"dcid:7", "i03"}


@pytest.mark.parametrize("fault", [httpx.ConnectError("All connection attempts failed"), ObjectNotFound(Exception())])
async def test_a_run_that_can_not_be_tagged_is_none_the_worse(run_recipe, monkeypatch, fault):
    calls = []

    async def fail(client, *args, **options):
        calls.append(options)
        raise fault

    monkeypatch.setattr(PrefectClient, "update_flow_run", fail)
    monkeypatch.setattr(publishing, "API_PATIENCE_S", 0.05)
    monkeypatch.setattr(publishing, "API_PAUSES", Pauses(0.02, 0.02))
    state, _ = await run_recipe(DONE_AT_ONCE, dcid=7, **OF_A_COLLECTION)
    assert state.is_completed(), state.message
    assert [set(call["tags"]) for call in calls][:1] == [{"dcid:7", "i03", "mx12345-1"}]


async def test_parameters_without_a_placeholder_are_warned_of_in_the_run_s_log(run_recipe):
    recipe = DONE_AT_ONCE | {"2": {"queue": "filewatcher", "parameters": {"list": [], "timeout": "{timeout}"}}}
    state, flow_run_id = await run_recipe(recipe, timout=3, timeout=4)
    assert state.is_completed(), state.message
    log = run_folder(str(flow_run_id)).log.read_text()
    assert "no placeholder for them: the parameters 'timout' ('timeout'?)" in log


async def page_of(flow_run_id):
    """The run's page; the server is asked, as the UI does."""
    async with get_client() as client:
        artifacts = await client.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
        )
    pages = [artifact.data for artifact in artifacts if artifact.key == "recipe-run"]
    return pages[0] if pages else ""


async def test_a_run_has_a_page_with_its_graph_while_it_goes_on_and_when_it_is_over(
    run_recipe, control_computer, tmp_path, monkeypatch
):
    monkeypatch.setattr(publishing, "FIRST_PAGE_S", 0.1)
    monkeypatch.setattr(publishing, "PAGE_INTERVAL_S", 0.1)
    monkeypatch.setenv("PLAZA_ISPYB_URL", "mysql+pymysql://me:hush@localhost/ispyb")
    get_settings.cache_clear()
    recipe = watching([], control_computer.getsockname()[1], every=2)
    recipe["1"]["parameters"] = {"pattern": f"{tmp_path}/x_%03d.cbf", "pattern-start": "1", "pattern-end": "2"}
    del recipe["3"]
    (tmp_path / "x_001.cbf").write_text("image")
    running = asyncio.create_task(run_recipe(recipe, colour="blue|green"))
    async with asyncio.timeout(60):
        while not list((tmp_path / "home" / "recipe-runs").glob("*/journal.jsonl")):
            await asyncio.sleep(0.02)
        [folder] = (tmp_path / "home" / "recipe-runs").iterdir()
        while "| 2 · notify\\_gda | running | 1 |" not in await page_of(folder.name):
            await asyncio.sleep(0.05)
    (tmp_path / "x_002.cbf").write_text("image")
    state, flow_run_id = await running
    assert state.is_completed(), state.message
    page = await page_of(flow_run_id)
    assert "data:image/svg+xml;base64," in page
    assert "| 2 · notify\\_gda | done | 2 |" in page
    assert "| colour | blue\\|green |" in page
    assert f"plaza show {flow_run_id}" in page
    assert "hush" not in page
    assert not [file for file in folder.rglob("*") if file.is_file() and b"hush" in file.read_bytes()]


async def test_a_page_that_can_not_be_made_leaves_the_run_alone(run_recipe, monkeypatch, tmp_path):
    def broken(*_):
        raise RuntimeError("no ink")

    monkeypatch.setattr("flows.recipe.drawing.run_page.RunPage.write", broken)
    (tmp_path / "a.cbf").write_text("image")
    watcher = {"queue": "filewatcher", "parameters": {"list": [str(tmp_path / "a.cbf")], "timeout": 5}}
    state, _ = await run_recipe({"1": watcher, "start": [[1, []]]})
    assert state.is_completed(), state.message


async def test_suspended_at_a_step_the_run_stops_and_its_record_says_so(run_recipe, monkeypatch, tmp_path):
    suspended, begun = Suspended(timeout_seconds=60), []

    def take_up_suspended(folder, *others):  # as Prefect's observer does when it hears of it, just before a step begins
        begun.append(folder)
        FlowRunContext.get().flow_run_suspension_request.mark_requested(suspended)
        return take_up(folder, *others)

    monkeypatch.setattr("flows.recipe.run.take_up", take_up_suspended)
    with pytest.raises(Pause) as stop:
        await run_recipe(watching([str(tmp_path / "a")], 1), t=5)
    assert stop.value.state is suspended
    assert read_history(begun[0]).headline.startswith("Suspended")


async def test_hook_of_a_cancellation_has_the_record_say_so(run_recipe, tmp_path):
    cancelled = recipe_flow("tried-recipe", tmp_path / "tried-recipe.json")
    (hook,) = cancelled.on_cancellation_hooks
    run = FlowRun(flow_id=uuid4())
    folder = run_folder(str(run.id))
    folder.path.mkdir(parents=True)
    hook(cancelled, run, Cancelling())
    assert read_history(folder).headline.startswith("Cancelled")
