"""From the parameters of a message or a file to a scenario, as Zocalo's Mimas reads them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as some

from flows.mimas.scenario import (
    AnomalousScatterer,
    CloudGroup,
    DCClass,
    DetectorClass,
    Event,
    ImageRange,
    Scenario,
    SpaceGroup,
    UnitCell,
)
from flows.mimas.scenarios.facts import PRECEDENCE, InvalidScenario
from flows.mimas.scenarios.given_scenario import scenario_from_parameters

LEAST = {"dcid": "1234", "event": "end", "beamline": "i03", "dc_class": "ROTATION"}


def of(**parameters):
    return scenario_from_parameters({**LEAST, **parameters})


def fact(field, **parameters):
    """A fact of which nothing is to be told."""
    scenario, warnings = of(**parameters)
    assert warnings == ()
    return getattr(scenario, field)


def test_little_is_needed():
    assert of() == (Scenario(1234, DCClass.ROTATION, Event.END, "i03"), ())


def test_all_facts_are_taken_over():
    scenario, warnings = scenario_from_parameters(
        {
            "dcid": "1234",
            "event": "start",
            "beamline": "i04",
            "visit": "mx1-1",
            "run_status": "DataCollection Successful",
            "dc_class": {"grid": False, "rotation": True, "screen": None},
            "sweep_list": [[1233, 1, 100], ("1234", "1", "50")],
            "unit_cell": [78.1, 78.1, 37, 90, 90, 90.0],
            "space_group": "P41212",
            "diffraction_plan_info": {"anomalousScatterer": "se", "requiredResolution": 1.5},
            "preferred_processing": "xia2/DIALS",
            "detectorclass": "eiger",
            "cloudbursting": [{"visit_pattern": ["mx"], "beamlines": ["i04"], "recipes": ["autoPROC"]}],
            "something": "else",
        }
    )
    assert warnings == ()
    assert scenario == Scenario(
        dcid=1234,
        dc_class=DCClass.ROTATION,
        event=Event.START,
        beamline="i04",
        visit="mx1-1",
        run_status="DataCollection Successful",
        detector_class=DetectorClass.EIGER,
        sweeps=(ImageRange(1233, 1, 100), ImageRange(1234, 1, 50)),
        space_group=SpaceGroup("P41212"),
        unit_cell=UnitCell(78.1, 78.1, 37, 90, 90, 90.0),
        anomalous_scatterer=AnomalousScatterer("se"),
        preferred_processing="xia2/DIALS",
        cloudbursting=(CloudGroup(("mx",), ("i04",), ("autoPROC",)),),
    )


@pytest.mark.parametrize(
    "unset", [None, False, "", " ", "None", "False", "{ispyb_whatever}", "{ispyb_dc_info[runStatus]}"]
)
def test_what_nobody_filled_counts_as_unset(unset):
    optional = (
        "visit",
        "run_status",
        "sweep_list",
        "unit_cell",
        "space_group",
        "diffraction_plan_info",
        "preferred_processing",
        "detectorclass",
        "cloudbursting",
    )
    assert of(**dict.fromkeys(optional, unset)) == of()
    assert of(unit_cell=False, space_group=False, sweep_list=[], diffraction_plan_info={}, cloudbursting=True) == of()
    assert of(diffraction_plan_info={"anomalousScatterer": unset}) == of()
    for needed in ("dcid", "event", "beamline"):
        with pytest.raises(InvalidScenario, match=f"^{needed}: expected .*seen nothing"):
            of(**{needed: unset})


@pytest.mark.parametrize("dcid", [1234, "1234", " 1234 ", 2**32 - 1, "4294967295"])
def test_dcid_may_be_text_of_digits(dcid):
    assert fact("dcid", dcid=dcid) == int(dcid)


@pytest.mark.parametrize(
    "dcid", [True, 0, -1, "-1", 1.0, "1.0", "12x", "²", "1" * 5000, 2**63, 2**32, "4294967296", [1], {"a": 1}]
)
def test_what_is_no_dcid_makes_no_scenario(dcid):
    with pytest.raises(InvalidScenario, match=r"^dcid: expected the data collection's number, from 1 to 4294967295, "):
        of(dcid=dcid)


@pytest.mark.parametrize(
    ("text", "event"),
    [
        ("START", Event.START),
        ("End", Event.END),
        ("start_group", Event.START_GROUP),
        ("START-GROUP", Event.START_GROUP),
        ("end-group", Event.END_GROUP),
        ("END_GROUP", Event.END_GROUP),
    ],
)
def test_events_are_named_in_any_case(text, event):
    assert fact("event", event=text) is event


@pytest.mark.parametrize("event", ["stop", "end group", "ſtart", 1, True, ["end"], {"end": 1}])
def test_what_is_no_event_makes_no_scenario(event):
    with pytest.raises(InvalidScenario, match=r"^event: expected one of start, end, start-group, end-group, seen "):
        of(event=event)


@pytest.mark.parametrize("beamline", [3, True, ["i03"], {}])
def test_what_is_no_beamline_makes_no_scenario(beamline):
    with pytest.raises(InvalidScenario, match=r"^beamline: expected its name as in ISPyB, such as i03, seen "):
        of(beamline=beamline)


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(PRECEDENCE, 2)))
def test_of_two_classes_the_more_special_one_counts(first, second):
    assert fact("dc_class", dc_class={second: True, first: True}) is PRECEDENCE[first]
    assert fact("dc_class", dc_class={second: True, first: False}) is PRECEDENCE[second]
    assert fact("dc_class", dc_class={second: "True", first: "False"}) is PRECEDENCE[second]


@pytest.mark.parametrize("yes", [True, 1, "true", "TRUE", " True ", "yes", "1"])
@pytest.mark.parametrize("no", [False, None, 0, "", "false", "FALSE", " False", "no", "No", "0", "None", "{ispyb_x}"])
def test_what_holds_may_be_text(yes, no):
    assert fact("dc_class", dc_class={"grid": no, "rotation": yes}) is DCClass.ROTATION
    assert fact("dc_class", dc_class={"grid": yes, "rotation": no}) is DCClass.GRIDSCAN


@pytest.mark.parametrize("value", ["perhaps", "ſ", 2, 1.0, ["True"], {"a": 1}])
def test_what_is_neither_true_nor_false_does_not_hold_with_a_warning(value):
    scenario, (warning,) = of(dc_class={"grid": value, "rotation": True})
    assert scenario.dc_class is DCClass.ROTATION
    assert warning.startswith("dc_class grid ")
    assert warning.endswith(" is left out: expected true or false")


@pytest.mark.parametrize("nothing", [{}, dict.fromkeys(PRECEDENCE, False), {"screen": None}, {"else": "x"}])
def test_no_class_is_undefined(nothing):
    assert fact("dc_class", dc_class=nothing) is DCClass.UNDEFINED


@pytest.mark.parametrize(
    ("name", "dc_class"),
    [
        *((kind.name, kind) for kind in DCClass),
        *((kind.name.lower(), kind) for kind in DCClass),
        ("serial fixed", DCClass.SERIAL_FIXED),
    ],
)
def test_classes_are_named_in_any_case(name, dc_class):
    assert fact("dc_class", dc_class=name) is dc_class


@pytest.mark.parametrize("name", ["grid", "em", "ſcreening", "", None, False, 7, ["ROTATION"], "{ispyb_dc_class}"])
def test_an_unknown_class_is_undefined_with_a_warning(name):
    scenario, (warning,) = of(dc_class=name)
    assert scenario.dc_class is DCClass.UNDEFINED
    assert warning.startswith("dc_class: expected one of CHARACTERIZATION, ")


@pytest.mark.parametrize(
    ("name", "family"),
    [("eiger", DetectorClass.EIGER), ("PILATUS", DetectorClass.PILATUS), ("jungfrau", None), (7, None), ([], None)],
)
def test_detectors_without_rules_have_no_class(name, family):
    assert fact("detector_class", detectorclass=name) is family


@pytest.mark.parametrize(
    "sweeps",
    [
        "[[1, 1, 2]]",
        7,
        {"dcid": 1},
        [1, 1, 2],
        [[1, 1]],
        [[1, 1, 2, 3]],
        ["112"],
        [[1, 2, 1]],
        [[0, 1, 2]],
        [[1, -1, 2]],
        [[True, 1, 2]],
        [[1, 1.0, 2]],
        [["1", "x", "2"]],
        [None],
        [[1, 1, 2], [1, 1, float("nan")]],
    ],
)
def test_a_sweep_that_makes_no_sense_makes_no_scenario(sweeps):
    with pytest.raises(InvalidScenario, match=r"^sweep_list: "):
        of(sweep_list=sweeps)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ([78.1, 78, 37.50, 90, 90.0, 90], "78.1,78,37.5,90,90.0,90"),
        ((78.1, 78.1, 37.0, 90.0, 90.0, 90.0), "78.1,78.1,37.0,90.0,90.0,90.0"),
        ("78.1,78.1,37,90,90.0,90", "78.1,78.1,37,90,90.0,90"),
        ("(78.1, 78.1, 37.0, 90.0, 90.0, 90.0)", "78.1,78.1,37.0,90.0,90.0,90.0"),
        ("[78.1, 78.1, 37, 90, 90, 90]", "78.1,78.1,37,90,90,90"),
        (["78.1", "78.1", "37", "90", "90", "90"], "78.1,78.1,37,90,90,90"),
    ],
)
def test_cells_are_written_as_python_writes_the_numbers(cell, text):
    assert fact("unit_cell", unit_cell=cell).string == text


@pytest.mark.parametrize(
    "cell",
    [
        [78.1, 78.1, 37, 90, 90],
        [78.1, 78.1, 37, 90, 90, 90, 90],
        [0, 78.1, 37, 90, 90, 90],
        [78.1, 78.1, 37, 90, 90, 180],
        [78.1, 78.1, 37, 30, 30, 90],
        [78.1, 78.1, 37, 90, 90, None],
        [78.1, 78.1, 37, 90, 90, float("nan")],
        [78.1, 78.1, 37, 90, 90, True],
        [78.1, 78.1, 37, 90, 90, [90]],
        [10**400, 1, 1, 90, 90, 90],
        [1e308, 1e308, 1e308, 90, 90, 90],
        "P41212",
        "78.1 78.1 37 90 90 90",
        "1," * 5000,
        7,
        {"a": 78.1},
    ],
)
def test_a_cell_that_makes_no_sense_counts_as_unset_with_a_warning(cell):
    scenario, (warning,) = of(unit_cell=cell)
    assert scenario.unit_cell is None
    assert warning.startswith("unit cell ")
    assert "is left out: " in warning


@pytest.mark.parametrize("group", ["P7", "Hall: P 2yb", "x" * 10**5, "Ж", 19, ["P21"], {"a": 1}])
def test_a_group_that_makes_no_sense_counts_as_unset_with_a_warning(group):
    scenario, (warning,) = of(space_group=group)
    assert scenario.space_group is None
    assert warning.startswith("space group ")
    assert len(warning) < 1000


@pytest.mark.parametrize("plan", [{"anomalousScatterer": "Xx"}, {"anomalousScatterer": 34}, "Se", 7, ["Se"]])
def test_a_scatterer_that_makes_no_sense_counts_as_unset_with_a_warning(plan):
    scenario, (warning,) = of(diffraction_plan_info=plan)
    assert scenario.anomalous_scatterer is None
    assert "is left out" in warning


def test_the_number_of_a_group_is_wanted_as_text():
    _, (warning,) = of(space_group=19)
    assert warning == "space group '19' is left out: expected text: a number of the tables as '19'"
    assert fact("space_group", space_group="19").string == "P212121"


@pytest.mark.parametrize(
    "value",
    [{"visit": 7}, {"visit": 0}, {"run_status": True}, {"run_status": ["x"]}, {"preferred_processing": {"a": 1}}],
)
def test_text_that_is_none_makes_no_scenario(value):
    with pytest.raises(InvalidScenario, match="scenario of data collection 1234: "):
        of(**value)


@pytest.mark.parametrize(
    ("groups", "read"),
    [
        ([{"visit_pattern": ["mx"], "beamlines": ["i03"]}], (CloudGroup(("mx",), ("i03",)),)),
        (
            [{"cloud_spec": {"visit_pattern": ["mx"], "beamlines": ["i03"]}, "recipes": ["xia2"]}],
            (CloudGroup(("mx",), ("i03",), ("xia2",)),),
        ),
        ([{"visit_pattern": "mx", "beamlines": "i03", "recipes": "x"}], (CloudGroup(("mx",), ("i03",), ("x",)),)),
        ([{"visit_pattern": ["mx"], "beamlines": ["i03"], "cloudbursting": False}], ()),
        ([{}], (CloudGroup(),)),
        (True, ()),
        ("True", ()),
        (False, ()),
        ([], ()),
    ],
)
def test_groups_that_may_use_the_cloud_are_named_as_in_zocalos_configuration(groups, read):
    assert fact("cloudbursting", cloudbursting=groups) == read


@pytest.mark.parametrize(
    "groups",
    [
        "mx",
        7,
        {"beamlines": ["i03"]},
        ["mx"],
        [{"beamlines": 3}],
        [{"cloud_spec": "mx"}],
        [{"beamlines": [3]}],
        [{"visit_pattern": [""], "beamlines": ["i03"]}],
    ],
)
def test_a_group_that_makes_no_sense_stays_here_with_a_warning(groups):
    scenario, (warning,) = of(cloudbursting=groups)
    assert scenario.cloudbursting == ()
    assert 'expected {"visit_pattern": ' in warning or 'expected a list, of each group {"visit_pattern": ' in warning
    assert warning.count("expected") == 1


@pytest.mark.parametrize("parameters", [None, [], "dcid", 7])
def test_what_is_no_object_makes_no_scenario(parameters):
    with pytest.raises(InvalidScenario, match=r"^a scenario is expected to be an object of named values, seen "):
        scenario_from_parameters(parameters)


JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=9),
    lambda values: some.lists(values, max_size=4) | some.dictionaries(some.text(max_size=9), values, max_size=4),
    max_leaves=8,
)
NAMES = (
    "dcid event beamline dc_class visit run_status sweep_list unit_cell space_group diffraction_plan_info"
    " preferred_processing detectorclass cloudbursting"
)


@given(some.dictionaries(some.sampled_from(NAMES.split()), JSON))
def test_anything_else_is_a_scenario_or_told(parameters):
    try:
        scenario, _ = scenario_from_parameters({**LEAST, **parameters})
    except InvalidScenario:
        return
    assert isinstance(scenario, Scenario)
