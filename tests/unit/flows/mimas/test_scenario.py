"""What Mimas may know: values that make no sense can't be made."""

import math

import pytest
from pydantic import ValidationError

from flows.mimas.scenario import (
    AnomalousScatterer,
    DCClass,
    Event,
    ImageRange,
    JobParameter,
    RecipeInvocation,
    Scenario,
    SpaceGroup,
    UnitCell,
)


@pytest.mark.parametrize(
    ("dcid", "start", "end"),
    [(0, 1, 2), (-1, 1, 2), (1, -1, 2), (1, 3, 2), (True, 1, 2), (1, False, 2), (1, 1, True), ("1", 1, 2), (1, 1.0, 2)],
)
def test_impossible_sweep_is_refused(dcid, start, end):
    with pytest.raises(ValidationError):
        ImageRange(dcid, start, end)


def test_sweep_may_be_one_image_that_is_numbered_0():
    assert ImageRange(1, 0, 0) == ImageRange(dcid=1, start=0, end=0)


@pytest.mark.parametrize(
    "cell",
    [
        (0, 1, 1, 90, 90, 90),
        (1, -1, 1, 90, 90, 90),
        (1, 1, 1, 0, 90, 90),
        (1, 1, 1, 90, 180, 90),
        (1, 1, 1, 90, 90, math.nan),
        (math.inf, 1, 1, 90, 90, 90),
        (True, 1, 1, 90, 90, 90),
        (10, 10, 10, 30, 30, 90),
        (10, 10, 10, 150, 100, 170),
        (10, 10, 10, 120, 120, 120),
        ("1", 1, 1, 90, 90, 90),
    ],
)
def test_impossible_unit_cell_is_refused(cell):
    with pytest.raises(ValidationError):
        UnitCell(*cell)


def test_unit_cell_keeps_numbers_as_they_were_given():
    assert UnitCell(10, 11.0, 12.5, 90, 90.0, 119.99).string == "10,11.0,12.5,90,90.0,119.99"


@pytest.mark.parametrize(
    ("symbol", "full"),
    [
        ("P21", "P1211"),
        ("P 1 21 1", "P1211"),
        ("C2", "C121"),
        ("P 41 21 2", "P41212"),
        ("p212121", "P212121"),
        ("H3", "R3"),
        ("R 3 2 :H", "R32"),
        ("19", "P212121"),
    ],
)
def test_space_group_is_written_in_full(symbol, full):
    assert SpaceGroup(symbol).string == full


@pytest.mark.parametrize("symbol", ["", " ", "foo", "P 7", "Hall: P 2yb", "0", "231", "P21 foo", "None"])
def test_unknown_space_group_is_refused(symbol):
    with pytest.raises(ValidationError):
        SpaceGroup(symbol)


@pytest.mark.parametrize(("symbol", "element"), [("se", "Se"), ("SE", "Se"), ("S", "S"), (" zn ", "Zn")])
def test_scatterer_is_written_as_chemists_do(symbol, element):
    assert AnomalousScatterer(symbol).string == element


@pytest.mark.parametrize("symbol", ["", " ", "Xx", "selenium", "Se2+", "34"])
def test_what_is_no_element_is_refused(symbol):
    with pytest.raises(ValidationError):
        AnomalousScatterer(symbol)


@pytest.mark.parametrize("facts", [{"dcid": 0}, {"dcid": True}, {"beamline": ""}, {"beamline": None}, {"event": "end"}])
def test_impossible_scenario_is_refused(facts):
    good = {"dcid": 1, "dc_class": DCClass.ROTATION, "event": Event.END, "beamline": "i03"}
    assert Scenario(**good).sweeps == ()
    with pytest.raises(ValidationError):
        Scenario(**{**good, **facts})


@pytest.mark.parametrize(
    "make", [lambda: JobParameter("", "1"), lambda: JobParameter("key", 1), lambda: RecipeInvocation(1, "")]
)
def test_impossible_invocation_is_refused(make):
    with pytest.raises(ValidationError):
        make()
