"""The doors by which events and requests come in, on a whole site: documented HTTP requests, `plaza go`, drop files."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from flows.site.api_client import ask_api
from tests.support.checkout import CHECKOUT
from tests.support.commanded_site import CommandedSite, await_, site_of_recipes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PASS = {"1": {"queue": "trial.pass"}, "start": [[1, {"dcid": "{ispyb_dcid}"}]]}


class Site(CommandedSite):
    """A site that is found by its home, as from a user's shell."""

    @property
    def events(self) -> Path:
        return self.settings.home / "events"

    def plaza(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from flows.cli import main; main()", *words]
        unset = {"PREFECT_API_URL", "PLAZA_ISPYB_URL"}
        environment = {name: value for name, value in os.environ.items() if name not in unset}
        environment |= {
            "PLAZA_HOME": str(self.settings.home),
            "PLAZA_RECIPE_DIRECTORY": str(self.settings.recipe_directory),
        }
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)

    def api(self, path: str, body: Any = None) -> Any:
        answer = ask_api(self.site, path, body, timeout_s=60)
        assert answer is not None, path
        return answer

    def runs(self, flow: str) -> list[dict[str, Any]]:
        """The runs of a flow that have begun or ended, oldest first."""
        found: list[dict[str, Any]] = self.api("flow_runs/filter", {"flows": {"name": {"any_": [flow]}}, "limit": 200})
        return sorted((run for run in found if run["start_time"]), key=lambda run: run["start_time"])

    def await_runs(self, flow: str, count: int) -> list[dict[str, Any]]:
        """Wait until so many runs of a flow have ended."""

        def ended() -> list[dict[str, Any]]:
            runs = self.runs(flow)
            return runs if len([run for run in runs if run["end_time"]]) >= count else []

        runs: list[dict[str, Any]] = await_(ended)
        return runs


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    recipes = dict.fromkeys(("generate-diffraction-preview", "one", "two"), PASS)
    with site_of_recipes(Site, tmp_path_factory.mktemp("doors"), recipes) as site:
        yield site


@pytest.fixture(scope="module")
def dcid(site: Site) -> int:
    return site.simulate("rotation", "--images", "1")


def documented(language: str, site: Site, dcid: int) -> str:
    """A program of the documentation, for this site and data collection."""
    page = (CHECKOUT / "docs" / "how-to" / "send-events.md").read_text()
    blocks = re.findall(r"```(\w*)\n(.*?)```", page, re.DOTALL)
    (program,) = (text for named, text in blocks if "plaza.example" in text and named == language)
    return program.replace("http://plaza.example:4200/api", site.site.api_url).replace("1234567", str(dcid))


def test_documented_requests_run_mimas_each_and_its_recipes_once(site: Site, dcid: int, tmp_path: Path) -> None:
    page = (CHECKOUT / "docs" / "how-to" / "other-users-and-hosts.md").read_text()
    (keep_secret,) = (line for line in page.splitlines() if line.startswith("(umask 077;"))
    environment = {"PLAZA_HOME": str(site.settings.home), "PATH": os.environ["PATH"]}
    by_curl = f"{keep_secret}\n{documented('', site, dcid)}"
    subprocess.run(["bash", "-euc", by_curl], cwd=tmp_path, env=environment, check=True)
    (tmp_path / "api-secret").write_bytes((site.settings.home / "api-secret").read_bytes())
    by_python = [sys.executable, "-I", "-c", documented("python", site, dcid)]
    subprocess.run(by_python, cwd=tmp_path, env=environment, check=True)

    first, second = site.await_runs("mimas", 2)
    assert {run["state_name"] for run in (first, second)} == {"Completed"}
    assert [run["parameters"]["dcid"] for run in (first, second)] == [dcid, dcid]
    assert len(site.await_runs("generate-diffraction-preview", 1)) == 1


def test_events_that_make_no_sense_are_shown_and_hold_up_no_other(site: Site, dcid: int) -> None:
    def event(kind: str, **payload: Any) -> dict[str, Any]:
        return {
            "id": str(uuid4()),
            "occurred": datetime.now(UTC).isoformat(),
            "event": f"plaza.data-collection.{kind}",
            "resource": {"prefect.resource.id": f"plaza.data-collection.{payload.get('dcid')}"},
            "payload": payload,
        }

    before = {run["id"] for run in site.runs("mimas")}
    extra = {"note": {"texts": ["<'\">", "ü"]}}
    sound = event("start-group", dcid=str(dcid), guid=20261128, parameters=extra)
    events = [event("end"), event("end", dcid="abc"), event("end", dcid=2**40), sound]
    ask_api(site.site, "events", events)
    (run,) = await_(lambda: [run for run in site.runs("mimas") if run["id"] not in before and run["end_time"]])
    assert (run["parameters"]["guid"], run["parameters"]["parameters"]) == (20261128, extra)
    shown = await_(lambda: text if (text := site.plaza("event", "list").stdout).count("HTTP") == 3 else "")
    assert "'abc' does not match" in shown
    assert "None is not valid" in shown


def test_go_runs_recipes_and_names_what_is_near(site: Site, dcid: int) -> None:
    asked = site.plaza("go", "-r", "one", "-s", "guid=my-own-id", str(dcid), "--json")
    assert asked.returncode == 0, asked.stderr
    (run,) = json.loads(asked.stdout)["runs"]
    assert (run["recipe"], run["recipe_id"]) == ("one", "my-own-id")
    assert await_(lambda: seen if (seen := site.history("my-own-id"))["state"].startswith("Completed") else None)

    mimas = site.plaza("go", "-r", "mimas", "-s", "event=end", "-s", "guid=told", str(dcid))
    assert re.fullmatch(r"mimas: flow run \S{36}, recipe ID told\n", mimas.stdout), mimas.stderr

    unknown = site.plaza("go", "-r", "onne", str(dcid))
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "'onne' is unknown" in unknown.stderr
    assert "Near it: one" in unknown.stderr
    no_job = site.plaza("go", "-p", "4242")
    assert no_job.returncode == 1
    assert "no processing job 4242" in no_job.stderr


def test_drop_files_are_sent_once_whoever_sends_them(site: Site, dcid: int) -> None:
    """The worker, `plaza pickup` and its deployment at the same time."""
    before = len(site.runs("two"))
    message = {"recipes": ["two"], "parameters": {"ispyb_dcid": dcid}}
    for _ in range(5):  # as zocalo.go leaves them
        (site.events / str(uuid4())).write_text(json.dumps({"headers": {}, "message": message}))
        assert site.plaza("go", "--drop", "-r", "two", str(dcid)).returncode == 0
    deployment = site.api("deployments/name/pickup/live")["id"]
    site.api(f"deployments/{deployment}/create_flow_run", {})
    picking = site.plaza("pickup")
    assert picking.returncode == 0, picking.stderr
    await_(lambda: not [path for path in site.events.iterdir() if path.is_file() and path.name != "lock"])
    assert len(site.await_runs("two", before + 10)) == before + 10


def test_what_an_operator_pauses_stays_so(site: Site) -> None:
    from prefect.client.orchestration import SyncPrefectClient

    with SyncPrefectClient(site.site.api_url, auth_string=site.site.secret) as client:
        deployment = client.read_deployment_by_name("pickup/live")
        (schedule,) = deployment.schedules
        client.update_deployment_schedule(deployment.id, schedule.id, active=False)
        client._client.patch(f"/deployments/{deployment.id}", json={"tags": ["plaza"]}).raise_for_status()
    ids = [automation["id"] for automation in site.api("automations/filter", {})]
    assert len(ids) == 4
    deployed = site.plaza("deploy")
    assert "updated   pickup/live: tags" in deployed.stdout, deployed.stderr
    assert deployed.stdout.count("unchanged automation mimas/") == 4
    (schedule,) = site.api("deployments/name/pickup/live")["schedules"]
    assert (schedule["slug"], schedule["active"]) == ("each-minute", False)
