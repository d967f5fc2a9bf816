"""`plaza up`, but for what it starts."""

import pytest
from typer.testing import CliRunner

from blocks.settings import get_settings
from flows.cli.main import app
from flows.site.running_site import RunningSite


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A site of which nothing but the addresses is there."""
    site = RunningSite(tmp_path, "http://127.0.0.1:9/api", "http://127.0.0.1:9", "tcp://127.0.0.1:9")
    monkeypatch.setattr("flows.site.services.up", lambda wait: site)
    monkeypatch.setattr("flows.site.running_site.one_certificate", lambda home: home / "certificate.pem")
    monkeypatch.setenv("PLAZA_HOME", str(tmp_path))
    monkeypatch.setenv("PLAZA_ISPYB_URL", f"sqlite:///{tmp_path}/ispyb.sqlite")
    get_settings.cache_clear()
    yield site
    get_settings.cache_clear()


def test_up_tells_what_ispyb_lacks_but_the_site_is_up(site):
    done = CliRunner().invoke(app, ["up", "--no-resume"])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"Plaza is up. UI: {site.ui_url}")
    assert "make it with `plaza ispyb create`" in done.stderr


def test_up_says_nothing_of_ispyb_that_has_all(site):
    assert CliRunner().invoke(app, ["ispyb", "create"]).exit_code == 0
    done = CliRunner().invoke(app, ["up", "--no-resume"])
    assert done.exit_code == 0, done.output
    assert done.stderr == "Starting the site …\n"
