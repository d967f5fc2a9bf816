"""Wrong values are told in words: where, what was expected, what was seen."""

import pytest
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, field_validator, model_validator

from blocks.validation_faults import describe, expectation, reasons


class Sweep(BaseModel):
    start: int = Field(gt=0, alias="first")
    end: int

    @field_validator("end")
    @classmethod
    def _is_even(cls, end):
        if end % 2:
            raise ValueError(f"expected an even number, seen {end}")
        return end

    @model_validator(mode="after")
    def _is_in_order(self):
        if self.end < self.start:
            raise ValueError("a sweep ends after its start")
        return self


class Job(BaseModel):
    sweeps: list[Sweep]


@pytest.mark.parametrize(
    ("sweep", "said"),
    [
        ({"end": 4}, "sweeps.0.first: Field required"),
        ({"first": 0, "end": 4}, "sweeps.0.first: Input should be greater than 0, seen 0"),
        ({"first": 1, "end": 3}, "sweeps.0.end: expected an even number, seen 3"),
        ({"first": 0, "end": 3}, "sweeps.0.first: Input should be greater than 0, seen 0; sweeps.0.end: expected an"),
        ("1-4", "sweeps.0: Input should be a valid dictionary or instance of Sweep, seen '1-4'"),
    ],
)
def test_each_fault_has_its_place_and_what_was_seen(sweep, said):
    with pytest.raises(ValidationError) as caught:
        Job.model_validate({"sweeps": [sweep]})
    assert describe(caught.value).startswith(said)
    assert "Value error" not in describe(caught.value)


def test_a_fault_of_the_whole_has_no_place():
    with pytest.raises(ValidationError) as caught:
        Sweep.model_validate({"first": 9, "end": 4})
    assert describe(caught.value) == "a sweep ends after its start"


def test_places_can_be_named_and_faults_limited():
    with pytest.raises(ValidationError) as caught:
        Sweep.model_validate({"first": 0, "end": "x"})
    assert describe(caught.value, place=lambda loc: f"--{loc[0]}", most=1) == (
        "--first: Input should be greater than 0, seen 0"
    )


def test_a_long_value_is_shown_in_part():
    with pytest.raises(ValidationError) as caught:
        Job.model_validate({"sweeps": "x" * 10_000})
    assert len(describe(caught.value)) < 200


def test_reasons_have_neither_place_nor_value():
    with pytest.raises(ValidationError) as caught:
        Sweep.model_validate({"first": 0, "end": 3})
    assert reasons(caught.value) == "Input should be greater than 0; expected an even number, seen 3"


def test_expectations_may_follow_the_word_expected():
    class Named(BaseModel):
        name: str = Field(min_length=1)

    with pytest.raises(ValidationError) as caught:
        Sweep.model_validate({"first": 0, "end": 3})
    assert [expectation(fault) for fault in caught.value.errors()] == ["greater than 0", "an even number, seen 3"]
    with pytest.raises(ValidationError) as caught:
        Named(name="")
    assert [expectation(fault) for fault in caught.value.errors()] == ["text that should have at least 1 character"]


def test_thousands_of_faults_are_counted():
    with pytest.raises(ValidationError) as raised:
        TypeAdapter(list[int]).validate_python(["x"] * 5000)
    text = describe(raised.value)
    assert text.endswith("; and 4990 more")
    assert len(text) < 2000
