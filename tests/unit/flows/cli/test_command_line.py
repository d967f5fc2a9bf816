"""The command line when something is wrong: a line that says what to do, no traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def plaza(*words, stdout=subprocess.PIPE, **environment):
    """Run the command line in a process of its own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PLAZA_", "PREFECT_"))}
    return subprocess.run(
        [sys.executable, "-c", "from flows.cli import main; main()", *words],
        env=clean | environment,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "environment", "complaint"),
    [
        (("up",), {"PLAZA_HOME": "/dev/null/home"}, "set PLAZA_HOME to another one"),
        (("down",), {"PLAZA_HOME": "/dev/null/home"}, "set PLAZA_HOME to another one"),
        (("demo",), {"PLAZA_HOME": "/dev/null/home"}, "set PLAZA_HOME to another one"),
        (("simulate", "rotation", "--no-events"), {"PLAZA_HOME": "/dev/null/home"}, "set PLAZA_HOME to another one"),
        (("status",), {"PLAZA_SERVER_PORT": "soon"}, "PLAZA_SERVER_PORT: Input should be a valid integer"),
        (("deploy", "--check"), {"PLAZA_RECIPE_DIRECTORY": "/no/recipes"}, "no folder /no/recipes of recipe files"),
    ],
)
def test_what_can_not_be_done_is_a_line_that_says_what_to_do(words, environment, complaint):
    done = plaza(*words, **environment)
    assert done.returncode == 1
    assert complaint in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_site_that_is_down_is_told_how_to_start(tmp_path):
    status = plaza("status", PLAZA_HOME=str(tmp_path))
    assert (status.returncode, status.stdout) == (1, "problem: nothing runs here: start it with `plaza up`\n")
    for words in (("simulate", "rotation"), ("deploy",), ("prefect", "version"), ("event", "end", "7")):
        done = plaza(*words, PLAZA_HOME=str(tmp_path))
        assert done.returncode == 1
        assert "start one with `plaza up`" in done.stderr
        assert "Traceback" not in done.stderr
    for _ in range(2):
        assert plaza("down", PLAZA_HOME=str(tmp_path)).stdout == "Nothing ran.\n"


@pytest.mark.parametrize("unbuffered", ["1", ""])
@pytest.mark.parametrize("words", [("status",), ("ispyb", "commands")])
def test_what_cannot_be_printed_is_told(tmp_path, words, unbuffered):
    with Path("/dev/full").open("w") as full:
        done = plaza(*words, stdout=full, PLAZA_HOME=str(tmp_path), PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 1
    assert done.stderr.startswith("plaza: what is printed can't be written: No space left on device; ")
    assert len(done.stderr.splitlines()) == 1


def test_what_is_neither_a_command_nor_a_data_collection_is_told(tmp_path):
    done = plaza("mimas", "abc", "1", PLAZA_HOME=str(tmp_path), COLUMNS="200")
    assert done.returncode == 2
    assert (
        "'abc' is neither a command nor the id of a data collection, a whole number; commands are: decide, r"
        in done.stderr
    )
