"""The log of a recipe run under Prefect, and `plaza logs` of it."""

import asyncio
import json
import logging

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.logging.handlers import APILogHandler
from typer.testing import CliRunner

from blocks.settings import get_settings
from flows.cli.main import app
from flows.recipe.flow import recipe_flow
from flows.recipe.run_record.folder import run_folder
from flows.recipe.run_record.log import read_log

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]

RECIPE = {
    "1": {"queue": "filewatcher", "parameters": {"list": ["{image}"], "timeout": 5}, "output": {"every": 2}},
    "2": {"queue": "notify_gda", "parameters": {"dcid": "7", "host": "127.0.0.1", "port": 9}},
    "start": [[1, []]],
}


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A home folder, and Prefect's handler where PREFECT_LOGGING_EXTRA_LOGGERS of a site puts it."""
    monkeypatch.setenv("PLAZA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PLAZA_LOG_LEVEL", "DEBUG")
    get_settings.cache_clear()
    handler, loggers = APILogHandler(), [logging.getLogger(name) for name in ("flows", "tasks")]
    for logger in loggers:
        logger.addHandler(handler)
    yield tmp_path
    for logger in loggers:
        logger.removeHandler(handler)
    get_settings.cache_clear()


async def _lines_at_prefect(flow_run_id, text):
    """Lines of a run that have a text; the server has them a little later."""
    async with asyncio.timeout(60), get_client() as client:
        while True:
            logs = await client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id])))
            if found := [line for line in logs if text in line.message]:
                return found
            await asyncio.sleep(0.1)


async def test_each_line_is_on_behalf_of_its_run_and_step(site):
    image = site / "x.cbf"
    image.write_text("image")
    path = site / "tried.json"
    path.write_text(json.dumps(RECIPE))
    state = await recipe_flow("tried", path)(dcid=None, parameters={"image": str(image)}, return_state=True)
    assert state.is_failed()  # GDA needs an image number, which the file watcher doesn't send for a list
    run = str(state.state_details.flow_run_id)

    lines = read_log(run_folder(run).log)
    assert {(line.identity.recipe_run, line.identity.recipe) for line in lines} == {(run, "tried")}
    steps = {(line.identity.node, line.identity.step): line for line in lines}
    assert set(steps) == {(None, None), (1, "watch_files"), (2, "notify_gda")}
    assert "all 1 files found" in steps[1, "watch_files"].message
    assert steps[2, "notify_gda"].level == "ERROR"
    assert any(f"recipe run {run}" in line.message for line in lines if line.identity.node is None)

    [line] = await _lines_at_prefect(state.state_details.flow_run_id, "all 1 files found")
    assert line.task_run_id is not None

    done = await asyncio.to_thread(CliRunner().invoke, app, ["logs", run[:8], "-f", "--step", "watch_files"])
    assert done.exit_code == 0
    assert "INFO     1 watch_files          all 1 files found" in done.stdout
    assert "notify_gda" not in done.stdout
