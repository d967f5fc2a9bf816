"""From ISPyB's parameters to a scenario."""

import itertools

import pytest

from flows.mimas.scenario import AnomalousScatterer, DCClass, DetectorClass, Event, ImageRange, UnitCell
from flows.mimas.scenarios.facts import PRECEDENCE, InvalidScenario, class_of, detector_family
from flows.mimas.scenarios.ispyb_scenario import scenario_from_ispyb
from tasks.ispyb_access.reading.classification import DataCollectionClass
from tasks.ispyb_access.reading.parameters import DispatcherParameters
from tests.support.collection_facts import KNOWN, NOTHING_KNOWN


def of(event=Event.END, **facts):
    """The scenario of a collection that is known but for some facts, and the warnings."""
    return scenario_from_ispyb(DispatcherParameters(**{**KNOWN, **facts}), event)


def test_all_facts_are_taken_over():
    scenario, warnings = of()
    assert warnings == ()
    assert scenario.dcid == 12
    assert scenario.dc_class is DCClass.ROTATION
    assert scenario.event is Event.END
    assert scenario.beamline == "i03"
    assert scenario.visit == "cm12345-6"
    assert scenario.run_status == "DataCollection Successful"
    assert scenario.detector_class is DetectorClass.EIGER
    assert scenario.sweeps == (ImageRange(11, 1, 100), ImageRange(12, 1, 50))
    assert scenario.space_group is None
    assert scenario.unit_cell == UnitCell(78.1, 78.1, 37.0, 90.0, 90.0, 90.0)
    assert scenario.anomalous_scatterer == AnomalousScatterer("Se")
    assert scenario.preferred_processing == "xia2/3dii"


def test_a_beamline_is_enough():
    scenario, warnings = scenario_from_ispyb(DispatcherParameters(**NOTHING_KNOWN), Event.START)
    assert (scenario.dc_class, scenario.detector_class, scenario.sweeps) == (DCClass.UNDEFINED, None, ())
    assert warnings == ()


@pytest.mark.parametrize(
    ("key", "value", "field", "left", "warning"),
    [
        ("unit_cell", (78.1, 78.1, 37.0, 90.0, 90.0, 180.0), "unit_cell", None, "less than 180"),
        ("unit_cell", (78.1, 0.0, 37.0, 90.0, 90.0, 90.0), "unit_cell", None, "greater than 0"),
        ("diffraction_plan", {"anomalousScatterer": "Xx"}, "anomalous_scatterer", None, "'Xx' is no chemical"),
        (
            "related_sweeps",
            [(11, 1, 0), (12, 1, 9)],
            "sweeps",
            (ImageRange(12, 1, 9),),
            "ends at or after its start",
        ),
    ],
)
def test_a_fact_that_makes_no_sense_is_left_out_with_a_warning(key, value, field, left, warning):
    scenario, warnings = of(**{key: value})
    assert getattr(scenario, field) == left
    assert len(warnings) == 1
    assert warning in warnings[0]


def test_an_unknown_space_group_is_left_out_with_a_warning():
    scenario, warnings = of(space_group="P7")
    assert scenario.space_group is None
    assert warnings == (
        "space group 'P7' in ISPyB is left out: 'P7' is no space group's Hermann–Mauguin symbol or number",
    )


@pytest.mark.parametrize("beamline", [None, ""])
def test_without_a_beamline_there_is_no_scenario(beamline):
    with pytest.raises(InvalidScenario, match=r"data collection 12 names no beamline: expected .*beamLineName"):
        of(beamline=beamline)


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(PRECEDENCE, 2)))
def test_of_two_classes_the_more_special_one_counts(first, second):
    none = NOTHING_KNOWN["dc_class"]
    assert class_of({**none, second: True, first: True}) is PRECEDENCE[first]
    assert class_of({**none, second: True, first: False}) is PRECEDENCE[second]


@pytest.mark.parametrize("unsaid", [{}, {"screen": None, "rotation": None}])
def test_no_class_is_undefined(unsaid):
    assert class_of({**NOTHING_KNOWN["dc_class"], **unsaid}) is DCClass.UNDEFINED


def test_every_class_of_ispyb_has_its_place():
    assert set(PRECEDENCE) == set(DataCollectionClass.model_fields)


@pytest.mark.parametrize(
    ("name", "family"),
    [("eiger", DetectorClass.EIGER), ("pilatus", DetectorClass.PILATUS), ("jungfrau", None), (None, None)],
)
def test_detectors_without_rules_have_no_class(name, family):
    assert detector_family(name) is family


def test_megabytes_in_ispyb_come_no_further():
    long = "x" * 2**20
    scenario, warnings = of(
        beamline=long,
        visit=long,
        dc_info={"runStatus": long},
        preferred_processing=long,
        diffraction_plan={"anomalousScatterer": long},
        related_sweeps=[(number, 1, 0) for number in range(1, 5000)],
    )
    texts = (scenario.beamline, scenario.visit, scenario.run_status, scenario.preferred_processing)
    assert all(len(text) < 400 for text in texts)
    assert "4980 more" in warnings[-1]
    assert len(str(warnings)) < 10_000
