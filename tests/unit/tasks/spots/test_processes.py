"""Processes that are ended while they start cost no image, as long as one of them is well."""

import time
from pathlib import Path

import pytest

from tasks.diffraction.errors import DialsUnavailable
from tasks.diffraction.requests import PreviewRequest, Success
from tasks.spots.processes import STARTS, ImageProcesses
from tests.support import dying_child

FILES = [f"a_{number}" for number in range(12)]


@pytest.fixture
def make_program(tmp_path):
    """Return what makes a program that is ended by a signal at its start, unless a condition holds."""

    def make(condition, signal="SIGKILL"):
        program = tmp_path / "program.py"
        program.write_text(
            "import os, signal\nfrom pathlib import Path\n"
            f"starts = Path({str(tmp_path / 'starts')!r})\n"
            "with starts.open('ab', buffering=0) as file: number = file.write(b'x') and file.tell()\n"  # each its own
            f"if not ({condition}): os.kill(os.getpid(), signal.{signal})\n" + Path(dying_child.__file__).read_text()
        )
        return (str(program),)

    return make


def answers(program, files, count=2):
    with ImageProcesses(count, program) as processes:
        return list(processes.answers([PreviewRequest(file, 1, "", "") for file in files]))


def files_of(outcomes):
    return [outcome.value[0] for outcome in outcomes if isinstance(outcome, Success)]


@pytest.mark.parametrize("count", [1, 2])
def test_a_process_that_is_killed_while_it_starts_is_started_again(make_program, count):
    assert files_of(answers(make_program("number > 1"), FILES, count)) == FILES


@pytest.mark.parametrize("signal", ["SIGKILL", "SIGSEGV"])
def test_one_process_that_is_well_does_all(make_program, signal):
    # as where memory is short for another one
    assert files_of(answers(make_program("number == 1", signal), FILES)) == FILES


def test_one_that_is_killed_as_it_starts_after_a_crash_costs_no_image_but_the_one_that_crashed(make_program):
    outcomes = answers(make_program("number != 2"), ["a", "exit", "b", "c"], count=1)
    assert [isinstance(outcome, Success) for outcome in outcomes] == [True, False, True, True]
    assert "while it worked on exit" in outcomes[1].reason


@pytest.mark.parametrize("files", [["bad", "a"], ["a", "bad"], ["bad"]])
def test_work_begins_when_dials_is_there_also_if_the_first_image_fails(make_program, files):
    with ImageProcesses(1, make_program("__import__('time').sleep(0.5) is None")) as processes:
        began = time.perf_counter()
        assert processes.work_began is None
        list(processes.answers([PreviewRequest(file, 1, "", "") for file in files]))
        assert began + 0.5 < processes.work_began < time.perf_counter()


def test_if_none_can_be_started_that_is_said_after_some_tries(make_program, tmp_path):
    with pytest.raises(DialsUnavailable, match="did not start: it was ended by SIGKILL"):
        answers(make_program("False"), FILES)
    assert 2 <= (tmp_path / "starts").stat().st_size <= 2 * STARTS + 2
