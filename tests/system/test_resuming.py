"""A recipe run whose process is killed, anywhere: taken up again it does what is left, each thing once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.sorting import ArtifactSort
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from prefect.states import AwaitingRetry, Cancelled, State

from flows.recipe.run_record.entries import Began, Refused
from flows.recipe.run_record.folder import run_folder
from flows.recipe.run_record.journal import read_journal
from tests.support.commanded_site import CommandedSite, await_, site_of_recipes

pytestmark = pytest.mark.slow

STEPS = ("one", "two", "three", "four", "five")


def chain(queue: str = "trial.effect") -> dict[str, Any]:
    """Five steps, one after the other, each with an effect."""
    nodes = {
        str(number): {
            "queue": queue,
            "parameters": {"folder": "{folder}", "name": name},
            "output": number + 1 if number < len(STEPS) else None,
        }
        for number, name in enumerate(STEPS, 1)
    }
    return {**nodes, "start": [[1, "{what}"]]}


STREAM = {
    "1": {"queue": "trial.source", "parameters": {"folder": "{folder}", "name": "source", "count": 300}, "output": 2},
    "2": {
        "queue": "trial.stream",
        "parameters": {"folder": "{folder}", "name": "stream", "count": 100},
        "output": [3, 4],
    },
    "3": {"queue": "trial.stream", "parameters": {"folder": "{folder}", "name": "left", "count": 9}},
    "4": {"queue": "trial.stream", "parameters": {"folder": "{folder}", "name": "right", "count": 9}},
    "start": [[1, None]],
}

POISON = {
    "1": {"queue": "trial.pass", "output": 2},
    "2": {"queue": "trial.effect", "parameters": {"folder": "{folder}", "name": "one"}, "output": 3},
    "3": {"queue": "trial.effect", "parameters": {"folder": "{folder}", "name": "last"}},
    "start": [[1, "a"], [1, "poison"], [1, "b"]],
}


class Site(CommandedSite):
    """A site with recipes of trial steps."""

    def retry(self, run: str) -> None:
        """Do what the UI's button Retry does."""
        asyncio.run(self._retry(run))

    def state(self, run: str) -> State[Any]:
        """What Prefect calls a run."""
        return asyncio.run(self._state(run))

    async def _state(self, run: str) -> State[Any]:
        async with PrefectClient(self.site.api_url, auth_string=self.site.secret) as client:
            found = (await client.read_flow_run(UUID(run))).state
            assert found is not None
            return found

    def cancelled_before_it_began(self, deployment: str, **parameters: Any) -> str:
        """Make a run of which nothing but its state is there, and return its id."""
        return asyncio.run(self._cancelled_before_it_began(deployment, parameters))

    async def _cancelled_before_it_began(self, deployment: str, parameters: dict[str, Any]) -> str:
        async with PrefectClient(self.site.api_url, auth_string=self.site.secret) as client:
            found = await client.read_deployment_by_name(deployment)
            run = await client.create_flow_run_from_deployment(found.id, parameters=parameters, state=Cancelled())
            return str(run.id)

    async def _retry(self, run: str) -> None:
        async with PrefectClient(self.site.api_url, auth_string=self.site.secret) as client:
            answer = await client.set_flow_run_state(UUID(run), AwaitingRetry(message="Retry from the UI"))
            assert answer.status.value == "ACCEPT", answer

    def end_of(self, run: str) -> str:
        """Wait for the end of a run and return its state's name and message."""
        from flows.recipe.resume import await_end

        with temporary_settings({PREFECT_API_URL: self.site.api_url, PREFECT_API_AUTH_STRING: self.site.secret}):
            ended = asyncio.run(await_end(run_folder(run, self.settings.home), 120))
        assert ended.state is not None
        return f"{ended.state.name}: {ended.state.message}"

    def artifacts(self, run: str) -> list[tuple[str | None, Any]]:
        """Return keys and data of all artifacts of a run, in the order of their keys."""
        return asyncio.run(self._artifacts(run))

    async def _artifacts(self, run: str) -> list[tuple[str | None, Any]]:
        chosen = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(run)]))
        async with PrefectClient(self.site.api_url, auth_string=self.site.secret) as client:
            found = await client.read_artifacts(artifact_filter=chosen, sort=ArtifactSort.KEY_ASC)
        return [(artifact.key, artifact.data) for artifact in found if artifact.key]

    def percent(self, run: str) -> float | None:
        """How far the run has come, by its one progress artifact; None: it has none yet."""
        shown = [data for key, data in self.artifacts(run) if key == "recipe-progress"]
        assert len(shown) <= 1
        return float(shown[0]) if shown else None

    def resume(self, run: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Take a run up again and wait for its end."""
        return self.plaza("resume", run, "--wait", "--timeout", "120", *words)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_of_recipes(
        Site, tmp_path_factory.mktemp("trial"), {"chain": chain(), "stream": STREAM, "stream-of-poison": POISON}
    ) as site:
        yield site


def kill_at(gate: Path) -> None:
    """Kill the process that waits at a gate, and open the gate."""
    reached = gate.with_suffix(".reached")
    await_(reached.exists)
    os.kill(int(reached.read_text()), signal.SIGKILL)
    gate.unlink()
    reached.unlink()


def effects(folder: Path) -> Counter[str]:
    return Counter(file.name.split(".")[0] for file in folder.glob("*.effect"))


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_run_killed_at_any_step_has_each_effect_once(site: Site, tmp_path: Path, place: str) -> None:
    for name in STEPS:
        (tmp_path / f"{name}.{place}").touch()
    run = site.start("chain", folder=str(tmp_path), what="it")
    for name in STEPS:
        kill_at(tmp_path / f"{name}.{place}")
        done = site.plaza("resume", run)
        assert done.returncode == 0, done.stderr
    ended = site.resume(run)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "5 steps done" in ended.stdout
    assert effects(tmp_path) == Counter(STEPS)
    tries = Counter(line.split()[0] for line in (tmp_path / "tries.log").read_text().splitlines())
    assert tries == dict.fromkeys(STEPS, 2 if place == "after" else 1)


def test_a_stream_goes_on_behind_the_last_message_that_was_done(site: Site, tmp_path: Path) -> None:
    gate = tmp_path / "stream.gate"
    gate.touch()
    run = site.start("stream", folder=str(tmp_path))
    kill_at(gate)
    ended = site.resume(run)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert effects(tmp_path) == {"stream": 300, "left": 300, "right": 300}
    tries = Counter(line.split()[0] for line in (tmp_path / "tries.log").read_text().splitlines())
    assert tries == {"stream": 300, "left": 300, "right": 300}


def test_a_run_that_is_taken_up_has_one_artifact_of_each_key_and_its_progress_ends_at_100(
    site: Site, tmp_path: Path
) -> None:
    gate = tmp_path / "stream.gate"
    gate.touch()
    run = site.start("stream", folder=str(tmp_path))
    assert 0 < await_(lambda: site.percent(run)) < 100
    await_(lambda: "recipe-run" in dict(site.artifacts(run)))
    kill_at(gate)
    assert site.resume(run).returncode == 0
    whole = ["recipe-progress", "recipe-run", "recipe-steps"]
    assert ([key for key, _ in site.artifacts(run)], site.percent(run)) == (whole, 100)
    gate.touch()
    assert site.plaza("resume", run, "--from", "2").returncode == 0
    await_(gate.with_suffix(".reached").exists)
    await_(lambda: (site.percent(run) or 100) < 100)
    gate.unlink()
    assert site.end_of(run).startswith("Completed")
    assert ([key for key, _ in site.artifacts(run)], site.percent(run)) == (whole, 100)
    steps = json.loads(dict(site.artifacts(run))["recipe-steps"])
    assert {row["state"] for row in steps} == {"done"}


def test_a_run_is_repeated_from_a_chosen_step_with_other_parameters(site: Site, tmp_path: Path) -> None:
    run = site.start("chain", folder=str(tmp_path), what="it")
    assert site.end_of(run) == "Completed: 5 steps done"
    ended = site.resume(run, "--from", "3", "--param", "name=trois")
    assert ended.returncode == 0, ended.stderr
    assert "repeats nodes 3, 4, 5" in ended.stdout
    assert effects(tmp_path) == {"one": 1, "two": 1, "three": 1, "trois": 1, "four": 2, "five": 2}


def test_the_ui_s_retry_tries_what_was_refused_again_and_nothing_else(site: Site, tmp_path: Path) -> None:
    run = site.start("stream-of-poison", folder=str(tmp_path))
    assert site.end_of(run).startswith("Failed: step 2 · have_effect: 1 of 3 messages refused")
    assert effects(tmp_path) == {"one": 2, "last": 2}
    site.retry(run)
    assert site.end_of(run).startswith("Failed: step 2 · have_effect: 1 of 3 messages refused")
    assert effects(tmp_path) == {"one": 2, "last": 2}
    refusals = [
        entry for entry in read_journal(run_folder(run, site.settings.home).journal) if isinstance(entry, Refused)
    ]
    assert len(refusals) == 2


def test_a_run_that_is_done_has_nothing_left_to_do(site: Site, tmp_path: Path) -> None:
    run = site.start("chain", folder=str(tmp_path), what="it")
    assert site.end_of(run) == "Completed: 5 steps done"
    ended = site.resume(run)
    assert ended.returncode == 0
    assert "is Completed: nothing is left to do" in ended.stdout
    assert "Completed: 5 steps done" in ended.stdout
    journal = run_folder(run, site.settings.home).journal
    assert len([entry for entry in read_journal(journal) if isinstance(entry, Began)]) == 1
    assert len((tmp_path / "tries.log").read_text().splitlines()) == 5


def begun(site: Site, run: str) -> int:
    """How many processes have begun with a run."""
    return sum(isinstance(entry, Began) for entry in read_journal(run_folder(run, site.settings.home).journal))


def test_all_that_died_is_taken_up_once_though_two_ask_at_the_same_time(site: Site, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
        (folder / "one.after").touch()
    runs = [site.start("chain", folder=str(folder), what="it") for folder in folders]
    for run, folder in zip(runs, folders, strict=True):
        kill_at(folder / "one.after")
        await_(lambda run=run: site.state(run).is_crashed())
    with ThreadPoolExecutor() as threads:
        asked = [threads.submit(site.plaza, "resume", "--interrupted") for _ in range(2)]
        done = [each.result() for each in asked]
    assert [each.returncode for each in done] == [0, 0], [each.stderr for each in done]
    lines = [line for each in done for line in each.stdout.splitlines()]
    for run in runs:
        assert sum(line.startswith(run) and line.endswith("is taken up") for line in lines) == 1
        assert site.end_of(run) == "Completed: 5 steps done"
        assert begun(site, run) == 2
    again = site.plaza("resume", "--interrupted")
    assert (again.returncode, again.stdout) == (0, "no interrupted run waits to be taken up\n")


def test_a_run_that_never_began_is_taken_up(site: Site, tmp_path: Path) -> None:
    parameters = {"parameters": {"folder": str(tmp_path), "what": "it"}}
    run = site.cancelled_before_it_began("chain/live", **parameters)
    repeated = site.plaza("resume", run, "--from", "1")
    assert (repeated.returncode, repeated.stderr.count("\n")) == (1, 1)
    assert "has no record of what its nodes did" in repeated.stderr
    ended = site.resume(run[:12])
    assert "Completed: 5 steps done" in ended.stdout, ended.stderr
    assert effects(tmp_path) == Counter(STEPS)


def test_a_run_of_mimas_is_taken_up(site: Site) -> None:
    run = site.cancelled_before_it_began("mimas/end", dcid=7)
    ended = site.resume(run)
    assert f"run {run}" in ended.stdout
    assert "Failed: " in ended.stdout  # this site has no ISPyB
    assert "there is no ISPyB" in ended.stdout


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["no-such-run"], "no recipe run 'no-such-run'"),
        (["{run}", "--from", "9"], "has no node 9; its nodes: 1, 2, 3, 4, 5"),
        (["{run}", "--param", "x=1"], "--from"),
        (["{run}", "--from", "1", "--param", "x"], "expected NAME=VALUE"),
    ],
)
def test_what_can_not_be_resumed_says_why(site: Site, tmp_path: Path, words: list[str], complaint: str) -> None:
    run = site.start("chain", folder=str(tmp_path), what="it")
    site.end_of(run)
    done = site.plaza("resume", *(word.format(run=run) for word in words))
    assert done.returncode == 1
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
