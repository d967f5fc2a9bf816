"""Predicates compose, and name what decided."""

import itertools

import pytest

from flows.mimas.predicates import (
    HasOtherSweeps,
    HasOwnSweep,
    beamline_is,
    class_is,
    detector_is,
    event_is,
    visit_begins_with,
)
from flows.mimas.scenario import DCClass, DetectorClass, Event, ImageRange, Scenario

is_i03 = beamline_is("i03")
is_end = event_is(Event.END)
is_eiger = detector_is(DetectorClass.EIGER)
is_grid = class_is(DCClass.GRIDSCAN)

GRID_START = Scenario(7, DCClass.GRIDSCAN, Event.START, "i04")
SCENARIOS = [
    Scenario(7, dc_class, event, beamline)
    for dc_class, event, beamline in itertools.product((DCClass.GRIDSCAN, DCClass.ROTATION), Event, ("i03", "i04"))
]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_composition_is_that_of_logic(scenario):
    on_i03, at_end, of_grid = is_i03(scenario), is_end(scenario), is_grid(scenario)
    assert (is_i03 & is_end & is_grid)(scenario) == (on_i03 and at_end and of_grid)
    assert (is_i03 | is_end | is_grid)(scenario) == (on_i03 or at_end or of_grid)
    assert (is_i03 & ~(is_end | ~is_grid))(scenario) == (on_i03 and not (at_end or not of_grid))
    assert (~(is_i03 & is_end) | is_grid)(scenario) == (not (on_i03 and at_end) or of_grid)


def test_a_no_names_only_the_parts_that_said_no():
    verdict = (is_grid & is_end & is_i03).judge(GRID_START)
    assert verdict.because() == ("event is END: no, it is START", "beamline is i03: no, it is i04")


def test_a_no_to_a_choice_names_all_parts():
    verdict = (is_i03 | is_end).judge(GRID_START)
    assert verdict.because() == ("beamline is i03: no, it is i04", "event is END: no, it is START")


def test_a_no_to_a_negation_names_what_is_there():
    verdict = (~(is_grid | is_i03)).judge(GRID_START)
    assert verdict.because() == ("not (class is GRIDSCAN): no, it is GRIDSCAN",)


def test_a_yes_names_the_parts_that_made_it():
    verdict = ((is_i03 | is_grid) & ~is_end).judge(GRID_START)
    assert verdict.holds
    assert verdict.because() == ("class is GRIDSCAN: yes, it is GRIDSCAN", "not (event is END): yes, it is START")


def test_conditions_read_as_they_are_composed():
    verdict = (is_i03 & is_end & ~(is_grid | is_eiger)).judge(GRID_START)
    assert verdict.condition == "beamline is i03 and event is END and not (class is GRIDSCAN or detector is EIGER)"


def test_unknown_detector_is_said_to_be_unknown():
    assert is_eiger.judge(GRID_START).because() == ("detector is EIGER: no, it is unknown",)


@pytest.mark.parametrize(
    ("sweeps", "reason"),
    [
        ((), "group has other data collections: no, it is alone"),
        ((ImageRange(7, 1, 9),), "group has other data collections: no, it is alone"),
        ((ImageRange(6, 1, 9), ImageRange(7, 1, 9)), "group has other data collections: yes, it is with 6"),
    ],
)
def test_other_sweeps_are_those_of_other_data_collections(sweeps, reason):
    scenario = Scenario(7, DCClass.ROTATION, Event.END, "i03", sweeps=sweeps)
    assert HasOtherSweeps().judge(scenario).because() == (reason,)


@pytest.mark.parametrize(
    ("visit", "reason"),
    [
        ("mx123-4", "visit begins with mx or cm: yes, it is mx123-4"),
        ("nt123-4", "visit begins with mx or cm: no, it is nt123-4"),
        (None, "visit begins with mx or cm: no, it is unknown"),
    ],
)
def test_visits_are_told_by_their_beginnings(visit, reason):
    scenario = Scenario(7, DCClass.ROTATION, Event.END, "i03", visit=visit)
    assert visit_begins_with("mx", "cm").judge(scenario).because() == (reason,)
    assert visit_begins_with("mx", "cm")(scenario) == (visit == "mx123-4")
    assert not visit_begins_with()(scenario)


@pytest.mark.parametrize(
    ("predicate", "beamlines"),
    [
        (is_i03, {"i03"}),
        (is_end, None),
        (is_end & is_i03, {"i03"}),
        (is_i03 & beamline_is("i03", "i04"), {"i03"}),
        (is_i03 | beamline_is("i04"), {"i03", "i04"}),
        (is_i03 | is_end, None),
        (beamline_is("i03", "i04") & ~is_i03, {"i03", "i04"}),
        (~is_i03, None),
        (HasOtherSweeps(), None),
    ],
)
def test_predicates_know_their_beamlines(predicate, beamlines):
    assert predicate.beamlines() == (beamlines and frozenset(beamlines))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_short_answer_is_that_of_the_long_one(scenario):
    for predicate in (
        is_i03 & is_end,
        is_i03 | ~is_end,
        ~(is_i03 & is_grid) | is_eiger,
        HasOtherSweeps(),
        HasOwnSweep(),
    ):
        assert predicate(scenario) == predicate.judge(scenario).holds
