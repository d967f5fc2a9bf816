"""`plaza status`: for people, for monitoring, and its exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from flows.site import health
from flows.site.health.disks import MIB, Disk
from flows.site.health.facts import ApiFacts, SiteFacts
from flows.site.running_site import RunningSite
from flows.site.supervision import ServiceState

SITE = RunningSite(Path("/plaza"), "http://127.0.0.1:1/api", "http://127.0.0.1:1", "tcp://127.0.0.1:2")
API = ApiFacts(answers=True, has_database=True, has_pool=True, heartbeat_age_s=7.0)
SERVER = ServiceState("server", "RUNNING", 12, 3600, "")
DISK = Disk("the home", Path("/plaza"), 500 * MIB, 20000 * MIB)


@pytest.fixture
def status(monkeypatch):
    """Run the command on facts."""

    def run(facts, *words):
        monkeypatch.setattr(health, "status", lambda: health.SiteStatus(SITE, facts))
        return CliRunner().invoke(app, ["status", *words])

    return run


def test_a_healthy_site_is_shown_with_its_warnings(status):
    shown = status(SiteFacts("runs", (DISK,), services=(SERVER,), api=API))
    assert shown.exit_code == 0
    assert "server" in shown.output
    assert "heard of 7 s ago" in shown.output
    assert "warning: disk of the home /plaza: 500 MB free" in shown.output


def test_addresses_are_whole_in_any_terminal(status, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    shown = status(SiteFacts("runs", (DISK,), services=(SERVER,), api=API)).output.splitlines()
    assert f"Prefect's UI: {SITE.ui_url}" in shown
    assert f"Prefect's API: {SITE.api_url}" in shown
    assert f"Dask: {SITE.scheduler_address}" in shown


def test_a_problem_is_a_line_and_the_exit_status(status):
    shown = status(SiteFacts("died"))
    assert shown.exit_code == 1
    assert shown.output.startswith("problem: the supervisor was killed")


def test_monitoring_gets_one_object(status):
    shown = status(SiteFacts("runs", (DISK,), services=(SERVER,), api=API, expected=("mimas/end",)), "--json")
    assert shown.exit_code == 1
    document = json.loads(shown.output)
    assert document["healthy"] is False
    assert document["problems"] == ["not deployed: mimas/end. `plaza deploy` does it"]
    assert document["services"][0]["name"] == "server"
    assert document["disks"][0]["free"] == 500 * MIB
