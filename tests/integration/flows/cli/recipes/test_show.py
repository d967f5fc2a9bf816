"""`plaza recipe show --dcid`: a recipe filled in from ISPyB."""

import pytest
from typer.testing import CliRunner

from blocks.settings import get_settings
from flows.cli.main import app


@pytest.fixture
def site(engine, monkeypatch):
    """Have the command line use this test's ISPyB."""
    monkeypatch.setenv("PLAZA_ISPYB_URL", engine.url.render_as_string(hide_password=False))
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.mark.usefixtures("site")
def test_recipe_is_shown_as_it_would_run(add_collection):
    dcid = add_collection()
    done = CliRunner().invoke(app, ["recipe", "show", "archive-cbfs", "--dcid", str(dcid)], terminal_width=200)
    assert done.exit_code == 0, done.exception
    shown = "".join(line.lstrip("│ ") for line in done.output.splitlines())
    assert "/dls/i03/data/2024/mx12345-1/lys/x1/lys_1_%05d.cbf" in shown
    assert "/dls/i03/data/2024/mx12345-1/processed/lys/x1/lys_1/{guid}/archive" in shown
    assert "{visit_id}-{beamline}-{timestamp}{multipart}.xml" in shown
    assert "{ispyb" not in shown


@pytest.mark.usefixtures("site", "facility")
def test_unknown_data_collection_is_told():
    done = CliRunner().invoke(app, ["recipe", "show", "archive-cbfs", "--dcid", "99"])
    assert done.exit_code == 1
    assert "has no data collection 99" in str(done.exception)
