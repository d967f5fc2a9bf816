"""`plaza up`, but for what it starts."""

import os

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
    done = CliRunner().invoke(app, ["up"])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"Plaza is up. UI: {site.ui_url}")
    assert "make it with `plaza ispyb create`" in done.stderr


def test_up_says_nothing_of_ispyb_that_has_all(site):
    assert CliRunner().invoke(app, ["ispyb", "create"]).exit_code == 0
    done = CliRunner().invoke(app, ["up"])
    assert done.exit_code == 0, done.output
    assert done.stderr == "Starting the site …\n"


@pytest.fixture
def prefect_starts(site, monkeypatch):
    """Have the site answer in turns; note what Prefect's command line is started with."""
    site.write()
    started = []
    monkeypatch.setattr("os.execv", lambda path, arguments: started.append(arguments))
    monkeypatch.setattr("os.environ", os.environ.copy())

    def starts(*answers, supervised):
        left = list(answers)
        monkeypatch.setattr("flows.site.health.ask_api", lambda *_: left.pop(0) if len(left) > 1 else left[0])
        monkeypatch.setattr("flows.site.supervision.Supervisor.is_alive", lambda _: supervised)
        done = CliRunner().invoke(app, ["prefect", "deployment", "run", "mimas/end", "--param", "dcid=1"])
        assert started == [["prefect", "deployment", "run", "mimas/end", "--param", "dcid=1"]]
        return done.stderr

    return starts


def test_prefects_command_line_waits_for_a_server_that_is_started_again(prefect_starts):
    said = prefect_starts(None, None, {"message": "OK"}, supervised=True)
    assert said == "Prefect's server doesn't answer; waiting for it, 60 s at most …\n"


def test_it_does_not_wait_where_nobody_starts_a_server(prefect_starts):
    assert prefect_starts(None, supervised=False).startswith("Prefect's server doesn't answer. Events of data")


def test_it_says_nothing_while_the_server_answers(prefect_starts):
    assert prefect_starts({"message": "OK"}, supervised=True) == ""
