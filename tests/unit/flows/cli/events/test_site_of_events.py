"""Which site hears of a command's events: the home's, or the one that is named."""

import os
import subprocess
import sys

import pytest

from blocks.errors import ConfigurationError
from blocks.settings import get_settings
from flows.cli.events.site_of_events import use_site_of_events
from flows.site.running_site import RunningSite
from tests.support.checkout import CHECKOUT

HERE = "http://127.0.0.1:9/api"
PROFILES = """
active = "plaza"

[profiles.plaza]
PREFECT_API_URL = "http://127.0.0.1:9/api"
PREFECT_API_AUTH_STRING = "plaza:x"
"""
SCRIPT = """
from flows.cli.events.site_of_events import use_site_of_events
use_site_of_events()
from blocks.prefect_api import has_prefect_api
import prefect.main
from prefect.settings import PREFECT_API_URL
assert not has_prefect_api(), PREFECT_API_URL.value()
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    used = []
    monkeypatch.setattr("os.environ", os.environ.copy())
    os.environ["PLAZA_HOME"] = str(tmp_path)
    os.environ.pop("PREFECT_API_URL", None)
    monkeypatch.setattr("flows.site.running_site.use_running_site", lambda: used.append(True))
    get_settings.cache_clear()
    yield tmp_path, used
    get_settings.cache_clear()


@pytest.mark.parametrize(("named", "uses_home"), [(None, True), (HERE, True), ("http://elsewhere:4200/api", False)])
def test_a_running_site_is_used_unless_another_is_named(home, named, uses_home):
    folder, used = home
    RunningSite(folder, HERE, "http://127.0.0.1:9", "tcp://127.0.0.1:9").write()
    if named:
        os.environ["PREFECT_API_URL"] = named
    use_site_of_events()
    assert bool(used) is uses_home


@pytest.mark.parametrize(
    ("named", "was_up", "is_refused"),
    [(None, False, True), (None, True, False), (HERE, False, False), (HERE, True, False)],
)
def test_a_site_that_is_down_gets_its_events_later(home, named, was_up, is_refused):
    folder, _ = home
    if was_up:
        (folder / "events").mkdir()
    if named:
        os.environ["PREFECT_API_URL"] = named
    if is_refused:
        with pytest.raises(ConfigurationError, match="plaza up"):
            use_site_of_events()
    else:
        use_site_of_events()


def test_the_profile_that_plaza_up_has_made_names_no_site_that_is_down(tmp_path):
    """It names the API of what this user brought up last: a dead one, or that of another home."""
    (tmp_path / ".prefect").mkdir()
    (tmp_path / ".prefect" / "profiles.toml").write_text(PROFILES)
    (tmp_path / "home" / "events").mkdir(parents=True)
    environment = {"HOME": str(tmp_path), "PLAZA_HOME": str(tmp_path / "home"), "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
