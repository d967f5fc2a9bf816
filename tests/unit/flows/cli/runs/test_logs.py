import json
import re
from datetime import datetime

import pytest
from typer.testing import CliRunner

from blocks.errors import UnknownRecipeRun
from blocks.settings import get_settings
from flows.cli.main import app
from flows.recipe.run_record import activity
from flows.recipe.run_record.folder import RunFolder
from flows.recipe.run_record.manifest import Manifest
from tasks.logs.line import LogLine
from tasks.step.identity import StepIdentity

NOON = datetime(2024, 11, 21, 12, 3, 4, 567_000).timestamp()  # local time, as it's shown


def line(after, message, level="INFO", node=2, step="analyse_images", traceback=None):
    identity = StepIdentity("3f2a9c1b", "per-image-analysis", 7, node, step)
    return LogLine(NOON + after, level, "tasks", message, identity, "host", 1, traceback)


LINES = [
    line(1, "two \x1b[31mred\nmore", "WARNING"),
    line(0, "starts [bold]", node=None, step=None),
    line(86400, "late", "ERROR", 3, "notify_gda", "Traceback\n  KeyError"),
]


@pytest.fixture
def plaza(tmp_path, monkeypatch):
    monkeypatch.setenv("PLAZA_HOME", str(tmp_path))
    get_settings.cache_clear()
    for run in ("3f2a9c1b", "3f2b", "aaaa"):
        (tmp_path / "recipe-runs" / run).mkdir(parents=True)
    log = tmp_path / "recipe-runs" / "3f2a9c1b" / "log.jsonl"
    log.write_text("".join(line.to_json() + "\n" for line in LINES))
    Manifest("r", "r.json", "0" * 64, None, {}, {}, {}, ended={"at": NOON}).write(RunFolder(log.parent))
    yield lambda *words: CliRunner().invoke(app, ["logs", *words])
    get_settings.cache_clear()


@pytest.mark.parametrize("following", [(), ("-f",)])
def test_log_is_shown_in_order_with_time_level_and_step(plaza, following):
    done = plaza("3f2a", *following)
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "Thursday, 21 November 2024",
        "12:03:04.567 INFO                            starts [bold]",
        "12:03:05.567 WARNING  2 analyse_images       two  [31mred",
        "    more",
        "Friday, 22 November 2024",
        "12:03:04.567 ERROR    3 notify_gda           late",
        "    Traceback",
        "      KeyError",
    ]


def test_long_lines_are_not_broken_outside_of_a_terminal(plaza, tmp_path):
    (tmp_path / "recipe-runs" / "aaaa" / "log.jsonl").write_text(line(0, "x" * 500).to_json() + "\n")
    assert "x" * 500 in plaza("aaaa").stdout


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("--step", "2"), ["two"]),
        (("--step", "notify_gda"), ["late"]),
        (("--level", "warning"), ["two", "late"]),
        (("--level", "error", "-f"), ["late"]),
    ],
)
def test_lines_are_chosen_by_step_and_level(plaza, options, found):
    done = plaza("3f2a", "--json", *options)
    assert [json.loads(line)["message"].split()[0] for line in done.stdout.splitlines()] == found


def test_step_without_lines_is_answered_with_those_that_have_some(plaza):
    done = plaza("3f2a", "--step", "2x")
    assert done.stdout == ""
    assert re.search("none of 3 lines.*2 analyse_images, 3 notify_gda", done.stderr)


def test_run_without_a_log_says_so(plaza):
    assert "recipe run aaaa has logged nothing so far" in plaza("aaaa").stderr


@pytest.mark.parametrize(
    ("name", "complaint"), [("zz", "no recipe run 'zz'"), ("3f2", "2 recipe runs are called '3f2'")]
)
def test_unknown_or_ambiguous_run_is_an_error(plaza, name, complaint):
    done = plaza(name)
    assert done.exit_code == 1
    assert isinstance(done.exception, UnknownRecipeRun)
    assert complaint in str(done.exception)


def test_following_a_run_that_was_killed_ends_and_says_how_to_go_on(plaza, tmp_path, monkeypatch):
    monkeypatch.setattr(activity, "PATIENCE_S", 0.0)
    Manifest("r", "r.json", "0" * 64, None, {}, {}, {}).write(RunFolder(tmp_path / "recipe-runs" / "3f2a9c1b"))
    done = plaza("3f2a", "-f")
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == 8
    assert "`plaza resume 3f2a9c1b` takes it up" in done.stderr


def test_a_damaged_manifest_says_nothing_of_a_runs_end(plaza, tmp_path, monkeypatch):
    monkeypatch.setattr(activity, "PATIENCE_S", 0.0)
    folder = RunFolder(tmp_path / "recipe-runs" / "3f2a9c1b")
    folder.manifest.write_text('{"ended": {')
    done = plaza("3f2a", "-f")
    assert done.exit_code == 0
    assert "`plaza resume 3f2a9c1b` takes it up" in done.stderr
