"""Options of `plaza spots` that are refused before anything is done."""

import pytest
from typer.testing import CliRunner

from flows.cli.main import app


@pytest.mark.parametrize("option", ["--d-min", "--d-max", "--ice-rings-width"])
@pytest.mark.parametrize(
    ("value", "said"),
    [("inf", "expected a finite number; seen inf"), ("nan", "should be greater than or equal to 0")],
)
def test_a_number_that_is_not_finite_is_refused(option, value, said):
    done = CliRunner().invoke(app, ["spots", "x.cbf", option, value])
    assert done.exit_code == 2
    assert said in " ".join(done.output.replace("│", "").split())
