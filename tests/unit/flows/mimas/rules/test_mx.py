"""The decision table of Mimas, line by line."""

import itertools

import pytest

from flows.mimas.rules import decide
from flows.mimas.rules.conditions import MX_BEAMLINES
from flows.mimas.scenario import (
    AnomalousScatterer,
    DCClass,
    DetectorClass,
    Event,
    ImageRange,
    ISPyBJobInvocation,
    RecipeInvocation,
    Scenario,
    SpaceGroup,
    UnitCell,
)

PILATUS, EIGER = DetectorClass.PILATUS, DetectorClass.EIGER
DETECTORS = (PILATUS, EIGER, None)
SERIAL = (DCClass.SERIAL_FIXED, DCClass.SERIAL_JET)
ORDINARY = tuple(kind for kind in DCClass if kind not in {DCClass.GRIDSCAN, *SERIAL})
EVERYWHERE = MX_BEAMLINES
CC = ("resolution.cc_half_significance_level", "0.1")


def product(*choices):
    return list(itertools.product(*choices))


@pytest.fixture
def group():
    return SpaceGroup("P41212")


def scenario(beamline="i03", detector=EIGER, event=Event.END, dc_class=DCClass.ROTATION, **facts):
    return Scenario(1234, dc_class, event, beamline, detector_class=detector, **facts)


def names(made: Scenario) -> list[str]:
    return [wanted.recipe for wanted in decide(made).invocations]


def job(made: Scenario, recipe: str) -> list[ISPyBJobInvocation]:
    return [wanted for wanted in decide(made).jobs if wanted.recipe == recipe]


def keys_and_values(invocation: ISPyBJobInvocation) -> list[tuple[str, str]]:
    return [(parameter.key, parameter.value) for parameter in invocation.parameters]


@pytest.mark.parametrize("beamline", EVERYWHERE)
def test_pilatus_grid_scan_start_archives_and_analyses(beamline):
    assert names(scenario(beamline, PILATUS, Event.START, DCClass.GRIDSCAN)) == [
        "archive-cbfs",
        "per-image-analysis-gridscan",
    ]


@pytest.mark.parametrize(("beamline", "dc_class"), product(EVERYWHERE, ORDINARY))
def test_pilatus_start_archives_and_analyses(beamline, dc_class):
    assert names(scenario(beamline, PILATUS, Event.START, dc_class)) == ["archive-cbfs", "per-image-analysis-rotation"]


@pytest.mark.parametrize(
    ("beamline", "detector", "dc_class"),
    [
        case
        for case in product(EVERYWHERE, (EIGER, None), DCClass)
        if case != ("i03", EIGER, DCClass.GRIDSCAN) and case[:2] != ("i24", EIGER)
    ],
)
def test_other_starts_ask_for_nothing(beamline, detector, dc_class):
    assert names(scenario(beamline, detector, Event.START, dc_class)) == []


def test_eiger_grid_scan_start_on_i03_uses_the_gpu():
    assert names(scenario("i03", EIGER, Event.START, DCClass.GRIDSCAN)) == ["per-image-analysis-gridscan-i03-gpu"]


@pytest.mark.parametrize(
    ("beamline", "dc_class", "expected"),
    [
        ("i03", DCClass.GRIDSCAN, ["per-image-analysis-gridscan-i03-no-really"]),
        *(("i03", dc_class, ["per-image-analysis-rotation-swmr"]) for dc_class in (*ORDINARY, *SERIAL)),
        *((name, DCClass.GRIDSCAN, ["per-image-analysis-gridscan-i03"]) for name in ("i04", "i04-1", "i23", "i24")),
        *(
            (name, dc_class, ["per-image-analysis-rotation-swmr"])
            for name in ("i04", "i04-1", "i23", "i24")
            for dc_class in ORDINARY
        ),
        *((name, dc_class, []) for name in ("i04", "i04-1", "i23", "i24", "i02-1") for dc_class in SERIAL),
        ("i02-1", DCClass.GRIDSCAN, ["per-image-analysis-gridscan-swmr-vmxm"]),
        *(("i02-1", dc_class, ["per-image-analysis-rotation-swmr-vmxm"]) for dc_class in ORDINARY),
    ],
)
def test_eiger_end_archives_and_analyses(beamline, dc_class, expected):
    wanted = names(scenario(beamline, EIGER, Event.END, dc_class))
    assert wanted[0] == "archive-nexus"
    assert [name for name in wanted if name.startswith("per-image-analysis")] == expected


@pytest.mark.parametrize(("beamline", "detector"), product(EVERYWHERE, (PILATUS, None)))
def test_without_eiger_the_end_neither_archives_nor_analyses(beamline, detector):
    for dc_class in DCClass:
        wanted = names(scenario(beamline, detector, Event.END, dc_class))
        assert not [name for name in wanted if name.startswith(("archive", "per-image"))]


@pytest.mark.parametrize(("beamline", "detector"), product(EVERYWHERE, (PILATUS, None)))
@pytest.mark.parametrize(
    "dc_class", [DCClass.GRIDSCAN, DCClass.DIAMOND_ANVIL_CELL, DCClass.UNDEFINED, DCClass.SERIAL_FIXED]
)
def test_end_of_what_is_not_processed_asks_for_nothing(beamline, detector, dc_class):
    assert names(scenario(beamline, detector, Event.END, dc_class)) == []


@pytest.mark.parametrize(("beamline", "detector"), product(EVERYWHERE, DETECTORS))
def test_screening_aligns_and_plans(beamline, detector):
    decision = decide(scenario(beamline, detector, Event.END, DCClass.SCREENING))
    live = ("archive", "per-image")
    assert [wanted for wanted in decision.invocations if not wanted.recipe.startswith(live)] == [
        ISPyBJobInvocation(1234, True, "strategy-align-crystal", display_name="align_crystal"),
        RecipeInvocation(1234, "strategy-mosflm"),
        RecipeInvocation(1234, "generate-diffraction-preview"),
    ]


@pytest.mark.parametrize(("beamline", "detector"), product(EVERYWHERE, DETECTORS))
def test_rotation_end_processes(beamline, detector):
    sfx = "-eiger" if detector is EIGER else ""
    decision = decide(scenario(beamline, detector))
    assert [wanted.recipe for wanted in decision.recipes if not wanted.recipe.startswith(("archive", "per-image"))] == [
        f"processing-rlv{sfx}",
        "generate-diffraction-preview",
        *(["processing-mmcif-gen"] if beamline != "i02-1" else []),
    ]
    assert [(wanted.recipe, wanted.display_name, wanted.autostart, wanted.source) for wanted in decision.jobs] == [
        (f"autoprocessing-fast-dp{sfx}", "fast_dp", True, "automatic"),
        (f"autoprocessing-xia2-dials{sfx}", "xia2 dials", False, "automatic"),
        (f"autoprocessing-xia2-3dii{sfx}", "xia2 3dii", False, "automatic"),
        (f"autoprocessing-autoPROC{sfx}", "autoPROC", False, "automatic"),
    ]


@pytest.mark.parametrize(
    ("preferred", "autostarted"),
    [
        ("xia2/DIALS", "autoprocessing-xia2-dials"),
        ("xia2/3dii", "autoprocessing-xia2-3dii"),
        ("autoPROC", "autoprocessing-autoPROC"),
        ("xia2/XDS", None),
        (None, None),
    ],
)
def test_preferred_pipeline_starts_at_once(preferred, autostarted):
    decision = decide(scenario(detector=PILATUS, preferred_processing=preferred))
    starting = [wanted.recipe for wanted in decision.jobs if wanted.autostart]
    assert starting == ["autoprocessing-fast-dp", *([autostarted] if autostarted else [])]


@pytest.mark.parametrize(("beamline", "detector"), product(EVERYWHERE, DETECTORS))
def test_characterization_is_a_rotation_whose_pipelines_all_start(beamline, detector):
    rotation = decide(scenario(beamline, detector, preferred_processing="autoPROC"))
    characterization = decide(
        scenario(beamline, detector, dc_class=DCClass.CHARACTERIZATION, preferred_processing="autoPROC")
    )
    assert {wanted.recipe for wanted in characterization.invocations} - {
        wanted.recipe for wanted in rotation.invocations
    } == {"strategy-align-crystal"}
    assert all(wanted.autostart for wanted in characterization.jobs)
    assert len(characterization.recipes) == len(rotation.recipes)


def test_without_a_group_a_cell_is_ignored():
    made = scenario(unit_cell=UnitCell(78.1, 78.1, 37, 90, 90, 90))
    parameters = [keys_and_values(wanted) for wanted in decide(made).jobs]
    assert parameters == [[], [CC, ("absorption_level", "medium")], [CC], []]


def test_known_group_gives_every_pipeline_twice_but_fast_dp_once(group):
    made = scenario(space_group=group, unit_cell=UnitCell(78.1, 78.1, 37, 90, 90, 90))
    symmetry = [("spacegroup", "P41212"), ("unit_cell", "78.1,78.1,37,90,90,90")]
    absorption = ("absorption_level", "medium")
    assert [keys_and_values(wanted) for wanted in job(made, "autoprocessing-fast-dp-eiger")] == [symmetry[:1]]
    assert [keys_and_values(wanted) for wanted in job(made, "autoprocessing-xia2-dials-eiger")] == [
        [CC, absorption],
        [CC, *symmetry, absorption],
    ]
    assert [keys_and_values(wanted) for wanted in job(made, "autoprocessing-xia2-3dii-eiger")] == [
        [CC],
        [CC, *symmetry],
    ]
    assert [keys_and_values(wanted) for wanted in job(made, "autoprocessing-autoPROC-eiger")] == [[], symmetry]


def test_anomalous_scatterer_asks_for_high_absorption():
    made = scenario(anomalous_scatterer=AnomalousScatterer("se"))
    assert [keys_and_values(wanted) for wanted in job(made, "autoprocessing-xia2-dials-eiger")] == [
        [CC, ("absorption_level", "high")]
    ]


def test_vmxm_masks_its_copper_grid_between_symmetry_and_absorption(group):
    made = scenario("i02-1", space_group=group)
    (_, known) = job(made, "autoprocessing-xia2-dials-eiger")
    assert keys_and_values(known) == [
        CC,
        ("spacegroup", "P41212"),
        ("ice_rings.unit_cell", "3.615,3.615,3.615,90,90,90"),
        ("ice_rings.space_group", "fm-3m"),
        ("ice_rings.width", "0.01"),
        ("ice_rings.filter", "true"),
        ("failover", "true"),
        ("remove_blanks", "true"),
        ("spotfinder.filter.max_separation", "8"),
        ("spotfinder.threshold.dispersion.kernel_size", "6,6"),
        ("spotfinder.threshold.dispersion.sigma_background", "3"),
        ("spotfinder.threshold.dispersion.sigma_strong", "1"),
        ("absorption_level", "medium"),
    ]
    for recipe in ("autoprocessing-xia2-3dii-eiger", "autoprocessing-autoPROC-eiger"):
        assert not [key for wanted in job(made, recipe) for key, _ in keys_and_values(wanted) if "ice" in key]


def test_other_sweeps_of_the_group_are_processed_together_later(group):
    sweeps = (ImageRange(1233, 1, 100), ImageRange(1234, 1, 100))
    made = scenario(sweeps=sweeps, space_group=group, preferred_processing="xia2/DIALS")
    wanted = [item for item in decide(made).jobs if "multi" in item.recipe]
    assert [(item.recipe, item.display_name, item.autostart, item.sweeps) for item in wanted] == [
        ("autoprocessing-multi-xia2-dials-eiger", "xia2 dials (multi)", False, sweeps),
        ("autoprocessing-multi-xia2-3dii-eiger", "xia2 3dii (multi)", False, sweeps),
    ] * 2
    spacegroup = ("spacegroup", "P41212")
    assert [keys_and_values(item) for item in wanted] == [
        [CC, ("absorption_level", "medium")],
        [CC],
        [CC, spacegroup, ("absorption_level", "medium")],
        [CC, spacegroup],
    ]


@pytest.mark.parametrize("sweeps", [(), (ImageRange(1234, 1, 100),)])
def test_a_sweep_alone_is_not_processed_together(sweeps):
    assert not [name for name in names(scenario(sweeps=sweeps)) if "multi" in name]


def test_characterization_is_not_processed_with_other_sweeps():
    made = scenario(dc_class=DCClass.CHARACTERIZATION, sweeps=(ImageRange(1233, 1, 3), ImageRange(1234, 1, 3)))
    assert not [name for name in names(made) if "multi" in name]


@pytest.mark.parametrize("beamline", ["b21", "I03"])
def test_beamlines_without_rules_get_nothing_and_hear_why(beamline):
    decision = decide(scenario(beamline))
    assert decision.invocations == ()
    assert decision.matched == ()
    assert all("beamline is" in line and beamline in line for line in decision.explain().splitlines())


@pytest.mark.parametrize(("beamline", "detector"), product(EVERYWHERE, DETECTORS))
def test_nothing_is_asked_for_twice(beamline, detector, group):
    for event, dc_class in product(Event, DCClass):
        wanted = decide(scenario(beamline, detector, event, dc_class, space_group=group)).invocations
        assert len(set(wanted)) == len(wanted)
        assert all(item.dcid == 1234 for item in wanted)


def test_matched_rules_are_named_in_the_order_of_the_table():
    decision = decide(scenario("i24", PILATUS, Event.START, DCClass.GRIDSCAN))
    assert decision.matched == ("Pilatus grid scan starts",)
    assert len(decision.explain().splitlines()) == len(RULES)


def test_explanation_names_the_predicate_that_said_no():
    lines = decide(scenario("i24", PILATUS, Event.START, DCClass.GRIDSCAN)).explain().splitlines()
    assert "Pilatus grid scan starts: matched" in lines
    assert "Pilatus images start: did not match (not (class is GRIDSCAN): no, it is GRIDSCAN)" in lines
    assert (
        "Eiger files are complete: did not match (event is END: no, it is START; detector is EIGER: no, it is PILATUS)"
        in lines
    )
