"""A message that was refused, mended and re-injected by commands continues its recipe, in a run that is over or not."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient

from blocks.settings import Settings
from flows.runtime.running_site import RunningSite, site_environment
from flows.runtime.services import running_site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

GOOD = {"file-number": 5, "n_spots_total": 17}
TELL = {"queue": "notify_gda", "parameters": {"dcid": "7", "host": "127.0.0.1", "port": "{port}"}}
WATCH = {
    "queue": "filewatcher",
    "parameters": {"list": ["{file}"], "timeout": 60, "timeout-first": 60},
}
RECIPES = {
    "telling": {"1": TELL, "start": [[1, {"file-number": "five"}], [1, {"file-number": "six"}]]},
    "watching": {"1": WATCH, "2": TELL, "start": [[1, []], [2, {"file-number": "five"}]]},
}


class Plaza:
    """The command line of a site, and Prefect's door to its recipes."""

    def __init__(self, settings: Settings, site: RunningSite) -> None:
        self.settings, self.site = settings, site

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from flows.commands import main; main()", *words]
        environment = {**os.environ, **site_environment(self.settings, self.site)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)

    def start(self, recipe: str, **parameters: Any) -> str:
        return asyncio.run(self._start(recipe, parameters))

    async def _start(self, recipe: str, parameters: dict[str, Any]) -> str:
        async with PrefectClient(self.site.api_url) as client:
            deployment = await client.read_deployment_by_name(f"{recipe}/live")
            run = await client.create_flow_run_from_deployment(deployment.id, parameters={"parameters": parameters})
            return str(run.id)

    def letters(self, run: str) -> list[dict[str, Any]]:
        listed = self("dlq", "list", "--run", run, "--json")
        assert listed.returncode in (0, 1), listed.stderr
        return [json.loads(line) for line in listed.stdout.splitlines()]

    def story(self, run: str) -> dict[str, Any]:
        """All that is known of a run; its state is empty before it begins."""
        shown = self("show", run, "--json")
        return json.loads(shown.stdout) if shown.returncode == 0 else {"state": ""}

    def await_state(self, run: str, state: str, attempts: int = 1) -> dict[str, Any]:
        """Wait until a run stands in some way after some attempts, and return its story."""

        def story() -> dict[str, Any] | None:
            seen = self.story(run)
            return seen if seen["state"].startswith(state) and len(seen["attempts"]) == attempts else None

        return await_(story)


@pytest.fixture(scope="module")
def plaza(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plaza]:
    recipes = tmp_path_factory.mktemp("recipes")
    for name, document in RECIPES.items():
        (recipes / f"{name}.json").write_text(json.dumps(document))
    settings = Settings(
        home=tmp_path_factory.mktemp("site"), recipe_directory=recipes, server_port=0, dask_port=0, analysis_workers=1
    )
    with running_site(settings) as site:
        yield Plaza(settings, site)


@pytest.fixture
def gda() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(60)
        yield listening


def await_(condition: Callable[[], Any], timeout_s: float = 60) -> Any:
    """Wait until a condition holds and return what it gave."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.1)
    return value


def heard(gda: socket.socket) -> list[str]:
    return gda.recv(200).decode("latin-1").split(":")[:3]


def test_mended_messages_complete_a_run_that_had_failed(plaza: Plaza, gda: socket.socket) -> None:
    run = plaza.start("telling", port=gda.getsockname()[1])
    plaza.await_state(run, "Failed")
    first, second = plaza.letters(run)
    assert "file-number" in first["error"]
    edited = plaza("dlq", "edit", first["id"], "--payload", json.dumps(GOOD))
    assert edited.returncode == 0, edited.stderr
    again = plaza("dlq", "reinject", first["id"])
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("re-injected 1 dead letter: recipe run")
    assert heard(gda) == ["PIA", "7", "5"]
    plaza.await_state(run, "Failed", attempts=2)
    assert [letter["id"] for letter in plaza.letters(run)] == [second["id"]]

    assert plaza("dlq", "edit", second["id"], "--set", "file-number=6", "--set", "n_spots_total=1").returncode == 0
    purged = plaza("dlq", "purge", second["id"])
    [file] = Path(purged.stdout.split("kept in ")[1].strip()).glob(f"{second['id']}.json")
    assert plaza("dlq", "list").returncode == 0
    for attempts in (3, 4):  # once more does nothing, since the message is done
        again = plaza("dlq", "reinject", str(file))
        assert again.returncode == 0, again.stderr
        plaza.await_state(run, "Completed: 1 step done", attempts)
    assert heard(gda) == ["PIA", "7", "6"]
    gda.settimeout(0.5)
    with pytest.raises(TimeoutError):
        heard(gda)


def test_a_run_that_is_at_work_takes_a_message_when_it_has_done_the_rest(
    plaza: Plaza, gda: socket.socket, tmp_path: Path
) -> None:
    file = tmp_path / "x.cbf"
    run = plaza.start("watching", port=gda.getsockname()[1], file=str(file))
    [letter] = await_(lambda: plaza.letters(run))
    assert plaza("dlq", "edit", letter["id"], "--payload", json.dumps(GOOD)).returncode == 0
    again = plaza("dlq", "reinject", "--all", "--run", run)
    assert "is at work: it takes what was re-injected when it has done the rest" in again.stdout, again.stderr
    assert plaza.letters(run) == []
    assert plaza.story(run)["is_at_work"]
    file.write_text("image")
    assert heard(gda) == ["PIA", "7", "5"]
    story = plaza.await_state(run, "Completed", attempts=2)
    assert [step["state"] for step in story["steps"] if step["node"] == 2] == ["done"]
    assert len({attempt["began"]["pid"] for attempt in story["attempts"]}) == 1


def test_letters_stay_when_their_flow_run_was_deleted(plaza: Plaza, gda: socket.socket) -> None:
    run = plaza.start("telling", port=gda.getsockname()[1])
    plaza.await_state(run, "Failed")
    assert plaza("prefect", "flow-run", "delete", run).returncode == 0
    before = plaza.letters(run)
    again = plaza("dlq", "reinject", "--all", "--run", run)
    assert again.returncode == 1
    assert again.stderr.startswith("plaza: Prefect has no flow run")
    after = plaza.letters(run)
    assert [letter["payload"] for letter in after] == [letter["payload"] for letter in before]
    assert len(before) == 2
