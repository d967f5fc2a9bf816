"""A processing job that somebody creates or starts by hand runs its recipe on the site, and only once."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.commanded_site import CommandedSite, await_, site_of_recipes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

REDO = {"1": {"queue": "trial.pass"}, "start": [[1, {"job": "{ispyb_process}", "dcid": "{ispyb_dcid}"}]]}


class Site(CommandedSite):
    """A site that is found by its home, as from a user's shell."""

    def plaza(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from flows.cli import main; main()", *words]
        unset = {"PREFECT_API_URL", "PLAZA_ISPYB_URL"}
        environment = {name: value for name, value in os.environ.items() if name not in unset}
        environment |= {"PLAZA_HOME": str(self.settings.home)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_of_recipes(Site, tmp_path_factory.mktemp("trial"), {"ispyb-redo": REDO}) as site:
        yield site


@pytest.fixture(scope="module")
def dcid(site: Site) -> int:
    return site.simulate("rotation", "--images", "1")


def test_a_created_job_is_started_once(site: Site, dcid: int) -> None:
    created = site.plaza("job", "create", "--dcid", str(dcid), "--recipe", "redo", "--autostart")
    assert created.returncode == 0, created.stderr
    job = int(created.stdout)
    run = re.fullmatch(r"recipe ispyb-redo starts: run (\S+)\n", created.stderr)[1]
    history = await_(lambda: seen if (seen := site.history(run))["state"].startswith("Completed") else None)
    assert history["steps"][0]["state"] == "done"
    known = json.loads(site.plaza("find", run, "--json").stdout)
    assert (known["ispyb_process"], known["ispyb_dcid"]) == (job, dcid)

    again = site.plaza("job", "start", str(job))
    assert (again.returncode, again.stderr) == (
        0,
        f"recipe ispyb-redo has a run already: run {run} (Completed: 1 step done)\n",
    )


def test_a_job_whose_recipe_is_not_deployed_stays_in_ispyb(site: Site, dcid: int) -> None:
    created = site.plaza("job", "create", "--dcid", str(dcid), "--recipe", "unheard-of", "--autostart")
    assert created.returncode != 0
    job = created.stdout.strip()
    assert f"job {job} is in ISPyB, but its recipe ispyb-unheard-of could not be started" in created.stderr
    assert json.loads(site.plaza("job", job, "--json").stdout)["recipe"] == "unheard-of"
