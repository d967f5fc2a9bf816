"""`plaza event` while the site is down: the event is kept, and that is no failure."""

import json

import pytest
from typer.testing import CliRunner

from blocks.settings import get_settings
from flows.cli.main import app
from flows.events.drop_folder.file import read_drop_file
from flows.events.drop_folder.folder import DropFolder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The drop folder of a site that has been up once."""
    monkeypatch.setenv("PREFECT_PROFILES_PATH", str(tmp_path / "profiles.toml"))  # what a command sets goes with it
    monkeypatch.setenv("PLAZA_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr("flows.events.sending.has_prefect_api", lambda: False)
    monkeypatch.setattr("flows.events.submitting.has_prefect_api", lambda: False)
    get_settings.cache_clear()
    folder = DropFolder(tmp_path / "events")
    folder.make()
    yield folder
    get_settings.cache_clear()


def test_the_file_that_keeps_it_is_shown(folder):
    done = CliRunner().invoke(app, ["event", "end", "7", "--param", "tea=green"])
    assert done.exit_code == 0, done.output
    [path] = folder.files()
    assert done.stdout == f"kept until the site takes it: {path}\n"
    event = read_drop_file(path).content
    assert (event.event, event.dcid, event.parameters) == ("end", 7, {"tea": "green"})


def test_programs_read_json(folder):
    done = CliRunner().invoke(app, ["event", "start", "7", "--json"])
    assert json.loads(done.stdout) == {
        "event": "start",
        "dcid": 7,
        "flow_run_id": None,
        "kept": str(folder.files()[0]),
    }


@pytest.mark.parametrize("words", [["end", "seven"], ["pause", "7"], ["end", "7", "--param", "tea"]])
def test_what_is_no_event_is_refused_with_a_reason(folder, words):
    assert CliRunner().invoke(app, ["event", *words]).exit_code == 2
    assert folder.files() == []


def test_what_waits_and_what_can_not_be_sent_is_listed(folder):
    runner = CliRunner()
    assert runner.invoke(app, ["event", "list"]).stdout == f"No event and no request waits in {folder.path}.\n"
    runner.invoke(app, ["event", "end", "7"])
    (folder.path / "gda.json").write_text('{"event": "stop"}')
    folder.refuse(folder.path / "gda.json", "no such event")
    titles, waiting, refused = runner.invoke(app, ["event", "list"]).stdout.splitlines()
    assert titles.split() == ["at", "event", "dcid", "from", "file"]
    assert f"  end    7     {event_of(folder).sender}  {folder.files()[0].name}" in waiting
    assert "refused: gda.json: no such event" in refused


def event_of(folder):
    return read_drop_file(folder.files()[0]).content
