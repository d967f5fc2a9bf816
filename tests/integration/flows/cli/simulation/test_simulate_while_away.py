"""`plaza simulate` while its site is down: the data collection happens, and its events wait for the site."""

import json
import os
import subprocess
import sys

import pytest

from flows.events.drop_folder.file import read_drop_file
from flows.events.drop_folder.folder import DropFolder

pytestmark = pytest.mark.slow


def simulate(home):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PLAZA_", "PREFECT_"))}
    words = ("simulate", "screening", "--images", "1", "--json")
    return subprocess.run(
        [sys.executable, "-c", "from flows.cli import main; main()", *words],
        env=clean | {"PLAZA_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_events_of_a_site_that_is_down_are_kept_and_the_beamline_goes_on(tmp_path):
    folder = DropFolder(tmp_path / "events")
    folder.make()  # as the worker of a site that has been up
    done = simulate(tmp_path)
    assert done.returncode == 0, done.stderr
    dcid = json.loads(done.stdout)["dcid"]
    assert f"Until then events are kept in {folder.path}" in done.stderr
    events = [read_drop_file(path).content for path in folder.files()]
    assert [(event.event, event.dcid) for event in events] == [("start", dcid), ("end", dcid)]
