"""What a decision says of itself, and the order of what it asks for."""

import subprocess
import sys

import pytest

from flows.mimas.rules import beamline_warning, load_rules
from flows.mimas.scenario import DCClass, DetectorClass, Event, ImageRange, Scenario, SpaceGroup

PILATUS, EIGER = DetectorClass.PILATUS, DetectorClass.EIGER
RULES = load_rules()


def scenario(beamline="i03", detector=EIGER, event=Event.END, dc_class=DCClass.ROTATION, **facts):
    return Scenario(1234, dc_class, event, beamline, detector_class=detector, **facts)


@pytest.mark.parametrize("beamline", ["b21", "I03"])
def test_beamlines_without_rules_get_nothing_and_hear_why(beamline):
    decision = RULES.decide(scenario(beamline))
    assert decision.invocations == ()
    assert decision.matched == ()
    assert all("beamline is" in line and beamline in line for line in decision.explain().splitlines())
    warning = beamline_warning(RULES, decision.scenario)
    assert f"no rule knows beamline {beamline!r}" in warning
    assert "known are: i02-1, i02-2, i03, i04, i04-1, i15, i19-1, i19-2, i23, i24." in warning


@pytest.mark.parametrize("beamline", ["i02-1", "i02-2", "i03", "i04", "i04-1", "i15", "i19-1", "i19-2", "i23", "i24"])
def test_beamlines_with_rules_are_not_warned_of(beamline):
    assert beamline_warning(RULES, scenario(beamline, event=Event.START_GROUP)) is None


def test_matched_rules_are_named():
    decision = RULES.decide(scenario("i24", PILATUS, Event.START, DCClass.GRIDSCAN))
    assert decision.matched == ("Pilatus grid scan starts",)
    assert len(decision.explain().splitlines()) == len(RULES.rules)


def test_explanation_names_the_predicate_that_said_no():
    lines = RULES.decide(scenario("i24", PILATUS, Event.START, DCClass.GRIDSCAN)).explain().splitlines()
    assert "Pilatus grid scan starts: matched" in lines
    assert "Pilatus images start: did not match (not (class is GRIDSCAN): no, it is GRIDSCAN)" in lines
    assert (
        "Eiger files are complete: did not match (event is END: no, it is START; detector is EIGER: no, it is PILATUS)"
        in lines
    )


def test_characterization_asks_in_the_order_of_the_table():
    made = scenario(dc_class=DCClass.CHARACTERIZATION, space_group=SpaceGroup("P21"))
    assert [wanted.recipe for wanted in RULES.invocations(made)] == [
        "archive-nexus",
        "per-image-analysis-rotation-swmr",
        "strategy-align-crystal",
        "generate-diffraction-preview",
        "processing-rlv-eiger",
        "processing-mmcif-gen",
        "autoprocessing-fast-dp-eiger",
        *["autoprocessing-xia2-dials-eiger", "autoprocessing-xia2-3dii-eiger", "autoprocessing-autoPROC-eiger"] * 2,
    ]


@pytest.mark.parametrize("sweeps", [(), (ImageRange(1233, 1, 100),)])
def test_serial_collection_of_i19_whose_images_are_unknown_is_not_processed_and_says_so(sweeps):
    decision = RULES.decide(scenario("i19-1", EIGER, Event.END, DCClass.SERIAL_FIXED, sweeps=sweeps))
    assert decision.invocations == ()
    assert decision.faults == ()
    assert (
        "I19 serial processing: did not match (its own images are among the sweeps: no, it is without images)"
        in decision.explain().splitlines()
    )


def test_serial_collection_of_i19_in_parts_is_processed_whole():
    sweeps = (ImageRange(1234, 1, 50), ImageRange(1233, 1, 9), ImageRange(1234, 1, 50), ImageRange(1234, 51, 99))
    (job,) = RULES.invocations(scenario("i19-2", EIGER, Event.END, DCClass.SERIAL_JET, sweeps=sweeps))
    assert job.sweeps == (ImageRange(1234, 1, 50), ImageRange(1234, 51, 99))


def test_rules_have_names_of_their_own():
    assert len({rule.name for rule in RULES.rules}) == len(RULES.rules) == 40


def test_deciding_needs_no_prefect_database_or_cctbx():
    code = (
        "import sys; from flows.mimas.rules import load_rules; load_rules();"
        "print({'prefect', 'sqlalchemy', 'cctbx', 'dials'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
