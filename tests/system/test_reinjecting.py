"""A message that was refused, mended and re-injected by commands continues its recipe, in a run that is over or not."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.commanded_site import CommandedSite, await_, site_of_recipes

pytestmark = pytest.mark.slow

GOOD = {"file-number": 5, "n_spots_total": 17}
TELL = {"queue": "notify_gda", "parameters": {"dcid": "7", "host": "127.0.0.1", "port": "{port}"}}
WATCH = {
    "queue": "filewatcher",
    "parameters": {"list": ["{file}"], "timeout": 600, "timeout-first": 600},
}
RECIPES = {
    "telling": {"1": TELL, "start": [[1, {"file-number": "five"}], [1, {"file-number": "six"}]]},
    "watching": {"1": WATCH, "2": TELL, "start": [[1, []], [2, {"file-number": "five"}]]},
}


class Site(CommandedSite):
    """A site whose recipes tell GDA of messages."""

    def letters(self, run: str) -> list[dict[str, Any]]:
        listed = self.plaza("dlq", "list", "--run", run, "--json")
        assert listed.returncode in (0, 1), listed.stderr
        return [json.loads(line) for line in listed.stdout.splitlines()]

    def await_state(self, run: str, state: str, attempts: int = 1) -> dict[str, Any]:
        """Wait until a run stands in some way after some attempts, and return its history."""

        def history() -> dict[str, Any] | None:
            seen = self.history(run)
            return seen if seen["state"].startswith(state) and len(seen["attempts"]) == attempts else None

        return await_(history)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_of_recipes(Site, tmp_path_factory.mktemp("trial"), RECIPES) as site:
        yield site


@pytest.fixture
def gda() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(240)
        yield listening


def heard(gda: socket.socket) -> list[str]:
    return gda.recv(200).decode("latin-1").split(":")[:3]


def test_mended_messages_complete_a_run_that_had_failed(site: Site, gda: socket.socket) -> None:
    run = site.start("telling", port=gda.getsockname()[1])
    site.await_state(run, "Failed")
    first, second = site.letters(run)
    assert "file-number" in first["error"]
    edited = site.plaza("dlq", "edit", first["id"], "--payload", json.dumps(GOOD))
    assert edited.returncode == 0, edited.stderr
    again = site.plaza("dlq", "reinject", first["id"])
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("re-injected 1 dead letter: recipe run")
    assert heard(gda) == ["PIA", "7", "5"]
    site.await_state(run, "Failed", attempts=2)
    assert [letter["id"] for letter in site.letters(run)] == [second["id"]]

    assert site.plaza("dlq", "edit", second["id"], "--set", "file-number=6", "--set", "n_spots_total=1").returncode == 0
    purged = site.plaza("dlq", "purge", second["id"])
    [file] = Path(purged.stdout.split("kept in ")[1].strip()).glob(f"{second['id']}.json")
    assert site.plaza("dlq", "list").returncode == 0
    for attempts in (3, 4):  # once more does nothing, since the message is done
        again = site.plaza("dlq", "reinject", str(file))
        assert again.returncode == 0, again.stderr
        site.await_state(run, "Completed: 1 step done", attempts)
    assert heard(gda) == ["PIA", "7", "6"]
    gda.settimeout(0.5)
    with pytest.raises(TimeoutError):
        heard(gda)


def test_a_run_that_is_at_work_takes_a_message_when_it_has_done_the_rest(
    site: Site, gda: socket.socket, tmp_path: Path
) -> None:
    file = tmp_path / "x.cbf"
    run = site.start("watching", port=gda.getsockname()[1], file=str(file))
    [letter] = await_(lambda: site.letters(run))
    assert site.plaza("dlq", "edit", letter["id"], "--payload", json.dumps(GOOD)).returncode == 0
    again = site.plaza("dlq", "reinject", "--all", "--run", run)
    assert "is at work: it takes what was re-injected when it has done the rest" in again.stdout, again.stderr
    assert site.letters(run) == []
    assert site.history(run)["is_at_work"]
    file.write_text("image")
    assert heard(gda) == ["PIA", "7", "5"]
    history = site.await_state(run, "Completed", attempts=2)
    assert [step["state"] for step in history["steps"] if step["node"] == 2] == ["done"]
    assert len({attempt["began"]["pid"] for attempt in history["attempts"]}) == 1


def test_letters_stay_when_their_flow_run_was_deleted(site: Site, gda: socket.socket) -> None:
    run = site.start("telling", port=gda.getsockname()[1])
    site.await_state(run, "Failed")
    assert site.plaza("prefect", "flow-run", "delete", run).returncode == 0
    before = site.letters(run)
    again = site.plaza("dlq", "reinject", "--all", "--run", run)
    assert again.returncode == 1
    assert again.stderr.startswith("plaza: Prefect has no flow run")
    after = site.letters(run)
    assert [letter["payload"] for letter in after] == [letter["payload"] for letter in before]
    assert len(before) == 2
