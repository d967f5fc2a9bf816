"""Whole numbers are read in one way, at once, whatever is given for one."""

import time

import pytest
from pydantic import ValidationError

from tasks.ispyb_access.writing.rows.command_parameters import CommandParameters
from tasks.step import StepParameters
from tasks.whole_number import LARGEST, whole_number


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (5, 5),
        (-5, -5),
        ("5", 5),
        (" -05 ", -5),
        (5.0, 5),
        (LARGEST, LARGEST),
        (LARGEST + 1, None),
        (str(LARGEST + 1), None),
        pytest.param(10**5000, None, id="5001 digits"),
        pytest.param("9" * 100_000, None, id="100,000 digits"),
        (5.5, None),
        (1e300, None),
        (float("nan"), None),
        (float("inf"), None),
        ("1e3", None),
        ("1e999999999", None),
        ("1_000", None),
        ("0x10", None),
        ("١٢", None),
        ("5.0", None),
        ("5\0", None),
        ("", None),
        (True, None),
        (None, None),
        ([5], None),
        (b"5", None),
    ],
)
def test_whole_numbers_and_nothing_else(value, number):
    begin = time.monotonic()
    assert whole_number(value) == number
    assert time.monotonic() - begin < 1


@pytest.mark.parametrize("text", ["1_0", " -1_000 ", "1_0.5", "1e1_0"])
def test_texts_with_underscores_are_no_numbers_of_steps_and_commands(text):
    class Parameters(StepParameters):
        count: int = 0
        share: float | None = None
        name: str | int = ""

    class Command(CommandParameters):
        count: int | None = None
        name: str = ""

    assert Parameters.model_validate({"name": text}).name == text
    assert Command.model_validate({"name": text}).name == text
    for model, field in ((Parameters, "count"), (Parameters, "share"), (Command, "Count")):
        with pytest.raises(ValidationError, match="without underscores"):
            model.model_validate({field: text})
