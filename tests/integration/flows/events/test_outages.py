"""Events while the site's server is away: none is lost, and they come in their order when it's back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from flows.events.drop_folder.folder import DropFolder
from flows.site import health
from flows.site.running_site import process_environment
from tests.support.site_under_test import wait_for

pytestmark = pytest.mark.slow


@pytest.fixture
def plaza(runtime_site):
    """Start commands of the command line, in the site's environment."""
    environment = process_environment(runtime_site.settings, runtime_site.site)
    commands = []

    def start(*words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", "from flows.cli import main; main()", *words]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        commands.append(process)
        return process

    yield start
    for process in commands:
        process.kill()
        process.communicate()


def _pid(site, service):
    return next(state.pid for state in health.status(site.settings).services if state.name == service)


def _told(site):
    """What Mimas runs for, in the order in which it was told."""
    runs = site.api("flow_runs/filter", {"sort": "EXPECTED_START_TIME_ASC", "flows": {"name": {"any_": ["mimas"]}}})
    ours = [run for run in runs if run["parameters"]["dcid"] in (91, 92, 93)]
    return [(run["parameters"]["event"], run["parameters"]["dcid"]) for run in sorted(ours, key=_created)]


def _created(run):
    return run["created"]


def test_events_of_a_restart_of_the_server_are_sent_when_it_is_back(runtime_site, plaza):
    folder = DropFolder(runtime_site.settings.home / "events")
    wait_for(folder.path.is_dir, "the worker makes the folder")
    server = _pid(runtime_site, "server")
    os.kill(server, signal.SIGKILL)
    # As a beamline's script would, before anything else
    (folder.path / "gda.json").write_text(json.dumps({"event": "start", "dcid": 91}))
    by_prefect = plaza("prefect", "deployment", "run", "mimas/end", "--param", "dcid=93")
    for event, dcid in (("end", "91"), ("start", "92"), ("end", "92")):
        teller = plaza("event", event, dcid, "--json")
        said, warned = teller.communicate(timeout=240)
        # Neither a file nor a run is named where the worker is faster and the server isn't back for a question
        assert teller.returncode == 0, warned
        assert json.loads(said)["dcid"] == int(dcid)
    said, warned = by_prefect.communicate(timeout=240)
    assert by_prefect.returncode == 0, warned
    assert "waiting for it" in warned
    wait_for(lambda: not folder.files(), "the events are sent")
    told = wait_for(lambda: len(seen := _told(runtime_site)) == 5 and seen, "five runs of Mimas")
    assert [each for each in told if each[1] != 93] == [("start", 91), ("end", 91), ("start", 92), ("end", 92)]
    assert ("end", 93) in told
    wait_for(lambda: health.status(runtime_site.settings).is_healthy, "a healthy site")
