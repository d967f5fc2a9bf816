"""A grid scan one of whose images was refused is centred when that is mended; one that can't be costs one letter."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blocks.site_ispyb import connect
from tasks.ispyb_access.overviews.results import read_written_rows
from tests.support.commanded_site import CommandedSite, await_, site_of_recipes
from tests.support.grid_information import grid_information

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

STEPS_X, STEPS_Y = 8, 6
IMAGES = STEPS_X * STEPS_Y
GRID = grid_information(STEPS_X, STEPS_Y)
CENTRE = {
    "queue": "reduce.xray_centering",
    "parameters": {"dcid": "{dcid}", "beamline": "i03", "output": "{folder}/centre.json"},
    "output": {"success": 4},
}


def grid_scan(gridinfo: dict[str, Any]) -> dict[str, Any]:
    return {
        "1": {"queue": "trial.source", "parameters": {"folder": "{folder}", "name": "", "count": IMAGES}, "output": 2},
        "2": {"queue": "trial.analyse", "parameters": {"folder": "{folder}", "name": ""}, "output": 3},
        "3": {**CENTRE, "gridinfo": gridinfo},
        "4": {
            "queue": "ispyb_connector",
            "parameters": {"ispyb_command": "insert_xray_centring", "dcid": "{dcid}"},
        },
        "start": [[1, None]],
    }


class Site(CommandedSite):
    """A site with recipes of grid scans."""

    def letters(self, run: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.plaza("dlq", "list", "--run", run, "--json").stdout.splitlines()]

    def await_state(self, run: str, state: str, attempts: int = 1) -> dict[str, Any]:
        def history() -> dict[str, Any] | None:
            seen = self.history(run)
            return seen if seen["state"].startswith(state) and len(seen["attempts"]) == attempts else None

        return await_(history)

    def centrings(self, dcid: int) -> list[Any]:
        return list(read_written_rows(connect(self.settings), dcid).centrings)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    recipes = {"grid": grid_scan(GRID), "no-grid": grid_scan({})}
    with site_of_recipes(Site, tmp_path_factory.mktemp("trial"), recipes) as site:
        yield site


@pytest.fixture(scope="module")
def dcid(site: Site) -> int:
    return site.simulate("grid", "--grid", "2x2")


def test_a_grid_is_centred_when_its_refused_images_can_be_read(site: Site, dcid: int, tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("17 40")
    run = site.start("grid", folder=str(tmp_path), dcid=dcid)
    state = site.await_state(run, "Failed")["state"]
    assert f"data collection {dcid} isn't centred: 2 of {IMAGES} images didn't come: 17, 40" in state
    assert not (tmp_path / "centre.json").exists()
    assert f"{IMAGES - 2} undone, waits for the run to be taken up again" in site.plaza("show", run).stdout
    letters = site.letters(run)
    assert [letter["payload"] for letter in letters] == [16, 39]

    (tmp_path / "bad").write_text("40")
    done = site.plaza("dlq", "reinject", letters[0]["id"])
    assert done.returncode == 0, done.stderr
    state = site.await_state(run, "Failed", attempts=2)["state"]
    assert f"data collection {dcid} isn't centred: 1 of {IMAGES} images didn't come: 40" in state
    (tmp_path / "bad").unlink()
    resume(site, run, 0)
    assert json.loads((tmp_path / "centre.json").read_text())["best_image"] == IMAGES
    assert len(site.centrings(dcid)) == 1
    assert site.letters(run) == []


def resume(site: Site, run: str, status: int) -> subprocess.CompletedProcess[str]:
    done = site.plaza("resume", run, "--wait", "--timeout", "120")
    assert done.returncode == status, done.stdout + done.stderr
    return done


def test_a_grid_that_can_not_be_centred_costs_one_letter(site: Site, dcid: int, tmp_path: Path) -> None:
    run = site.start("no-grid", folder=str(tmp_path), dcid=dcid)
    state = site.await_state(run, "Failed")["state"]
    assert f"1 of {IMAGES} messages refused; the first: NodeRefused: data collection {dcid} has no grid" in state
    [letter] = site.letters(run)
    assert letter["others"] == IMAGES - 1
    told = f"{IMAGES - 1} more messages of its node wait with it"
    assert told in site.plaza("dlq", "list", "--run", run).stdout
    assert told in site.plaza("dlq", "show", letter["id"]).stdout
    resume(site, run, 1)
    assert [again["others"] for again in site.letters(run)] == [IMAGES - 1]
