"""From ISPyB's parameters to a scenario."""

import itertools

import pytest

from flows.mimas.ispyb_scenario import PRECEDENCE, InvalidScenario, dc_class, detector_class, scenario_from_ispyb
from flows.mimas.scenario import AnomalousScatterer, DCClass, DetectorClass, Event, ImageRange, UnitCell

KNOWN = {
    "ispyb_beamline": "i03",
    "ispyb_visit": "cm12345-6",
    "ispyb_dc_info": {"runStatus": "DataCollection Successful"},
    "ispyb_dc_class": {"grid": False, "screen": None, "rotation": True},
    "ispyb_detectorclass": "eiger",
    "ispyb_related_sweeps": [(11, 1, 100), [12, 1, 50]],
    "ispyb_space_group": "",
    "ispyb_unit_cell": (78.1, 78.1, 37.0, 90.0, 90.0, 90.0),
    "ispyb_diffraction_plan": {"anomalousScatterer": "Se"},
    "ispyb_preferred_processing": "xia2/3dii",
}


def test_all_facts_are_taken_over():
    scenario, warnings = scenario_from_ispyb(12, Event.END, KNOWN)
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
    scenario, warnings = scenario_from_ispyb(12, Event.START, {"ispyb_beamline": "i24", "ispyb_unit_cell": False})
    assert (scenario.dc_class, scenario.detector_class, scenario.sweeps) == (DCClass.UNDEFINED, None, ())
    assert warnings == ()


@pytest.mark.parametrize(
    ("key", "value", "field", "left", "warning"),
    [
        ("ispyb_unit_cell", (78.1, 78.1, 37.0, 90.0, 90.0, 180.0), "unit_cell", None, "less than 180"),
        ("ispyb_unit_cell", (78.1, 78.1, 37.0), "unit_cell", None, "Field required"),
        ("ispyb_diffraction_plan", {"anomalousScatterer": "Xx"}, "anomalous_scatterer", None, "'Xx' is no chemical"),
        (
            "ispyb_related_sweeps",
            [(11, 1, 0), (12, 1, 9)],
            "sweeps",
            (ImageRange(12, 1, 9),),
            "ends at or after its start",
        ),
    ],
)
def test_a_fact_that_makes_no_sense_is_left_out_with_a_warning(key, value, field, left, warning):
    scenario, warnings = scenario_from_ispyb(12, Event.END, {**KNOWN, key: value})
    assert getattr(scenario, field) == left
    assert len(warnings) == 1
    assert warning in warnings[0]


@pytest.mark.dials
def test_an_unknown_space_group_is_left_out_with_a_warning():
    pytest.importorskip("cctbx", reason="cctbx (a part of DIALS) is not installed")
    scenario, warnings = scenario_from_ispyb(12, Event.END, {**KNOWN, "ispyb_space_group": "P7"})
    assert scenario.space_group is None
    assert warnings == ("space group 'P7' in ISPyB is left out: 'P7' is no space group that cctbx knows",)


@pytest.mark.parametrize("beamline", [None, ""])
def test_without_a_beamline_there_is_no_scenario(beamline):
    with pytest.raises(InvalidScenario, match=r"data collection 12 names no beamline: expected .*beamLineName"):
        scenario_from_ispyb(12, Event.END, {**KNOWN, "ispyb_beamline": beamline})


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(PRECEDENCE, 2)))
def test_of_two_classes_the_more_special_one_counts(first, second):
    assert dc_class({second: True, first: True}) is PRECEDENCE[first]
    assert dc_class({second: True, first: None}) is PRECEDENCE[second]


@pytest.mark.parametrize("kinds", [None, {}, dict.fromkeys(PRECEDENCE, False), dict.fromkeys(PRECEDENCE)])
def test_no_class_is_undefined(kinds):
    assert dc_class(kinds) is DCClass.UNDEFINED


@pytest.mark.parametrize(
    ("name", "family"),
    [("eiger", DetectorClass.EIGER), ("pilatus", DetectorClass.PILATUS), ("jungfrau", None), (None, None)],
)
def test_detectors_without_rules_have_no_class(name, family):
    assert detector_class(name) is family
