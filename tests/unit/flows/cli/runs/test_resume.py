"""`plaza resume`, as far as it needs no site: what is to be taken up is a run, or all that died."""

import pytest
from typer.testing import CliRunner

from flows.cli.main import app

RUN = "0b1c2d3e-0000-4000-8000-000000000001"


@pytest.mark.parametrize(
    "words",
    [[], [RUN, "--interrupted"], ["--interrupted", "--from", "1"], ["--interrupted", "--wait"]],
)
def test_what_is_taken_up_is_either_a_run_or_all(words):
    done = CliRunner().invoke(app, ["resume", *words])
    assert done.exit_code == 2
    told = " ".join(done.stderr.replace("│", " ").split())
    assert "name a run, or say --interrupted, which takes neither --from nor --wait" in told


@pytest.mark.parametrize("days", ["-1", "1e9", "nan"])
def test_days_are_a_number_of_days(days):
    done = CliRunner().invoke(app, ["resume", "--interrupted", "--within", days])
    assert done.exit_code == 2, done.output
