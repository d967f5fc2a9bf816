import pytest
from typer.testing import CliRunner

from flows.cli.simulation.commands import app


@pytest.fixture
def run(tmp_path, monkeypatch):
    from blocks.settings import get_settings

    monkeypatch.setenv("PLAZA_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    get_settings.cache_clear()
    yield lambda *arguments: CliRunner().invoke(app, arguments)
    get_settings.cache_clear()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "say what to simulate"),
        (["rotation", "--from", "somewhere"], "say what to simulate"),
        (["tomography"], "'tomography' is not one of"),
        (["grid", "--grid", "5"], "expected columns x rows like 5x4, seen '5'"),
        (["grid", "--grid", "0x4"], "expected columns x rows"),
        (["grid", "--centre", "2"], "expected X,Y in grid boxes"),
        (["grid", "--images", "4"], "--images isn't for a grid"),
        (["rotation", "--grid", "5x4"], "--grid isn't for a rotation"),
        (["rotation", "--width", "0"], "images of some width"),
        (["rotation", "--distance", "-3"], "expected millimetres above 0"),
        (["rotation", "--rate", "0"], "0.01"),
    ],
)
def test_what_makes_no_sense_is_said(run, arguments, complaint):
    result = run(*arguments, "--no-events")
    assert result.exit_code == 2
    assert complaint in result.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["rotation", "--no-events", "--visit", "holiday"], "expected a visit like mx12345-1"),
        (["--no-events", "--from", "/nowhere/at/all"], "there is no folder /nowhere/at/all"),
        (["rotation"], "start one with `plaza up`"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(run, arguments, complaint):
    result = run(*arguments)
    assert result.exit_code == 1
    assert complaint in result.stderr
    assert "Traceback" not in result.stderr
