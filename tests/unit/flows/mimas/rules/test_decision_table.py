"""The whole decision table, written down a second time and without the rules' means: what Zocalo's Mimas starts when.

Every beamline, detector, class and event is asked for, each with what else a scenario may know.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from blocks.settings import CHECKOUT
from flows.mimas.rules import RuleSet, load_rules
from flows.mimas.scenario import (
    AnomalousScatterer,
    CloudGroup,
    DCClass,
    DetectorClass,
    Event,
    ImageRange,
    Invocation,
    RecipeInvocation,
    Scenario,
    SpaceGroup,
    UnitCell,
)

DCID, VISIT = 1234, "mx12345-6"

PLAIN_MX = "i03 i04 i04-1 i23 i24"
MX = f"i02-1 {PLAIN_MX}"
EVERY_BEAMLINE = f"{MX} i02-2 i19-1 i19-2 i15 b21".split()

SERIAL = "SERIAL_FIXED SERIAL_JET"
NOT_GRID_NOT_SERIAL = "ROTATION CHARACTERIZATION SCREENING DIAMOND_ANVIL_CELL UNDEFINED"
NOT_SERIAL = f"GRIDSCAN {NOT_GRID_NOT_SERIAL}"
NOT_GRID = f"{NOT_GRID_NOT_SERIAL} {SERIAL}"
ANY_CLASS = f"{NOT_SERIAL} {SERIAL}"
ANY_DETECTOR = "PILATUS EIGER NONE"

PARAMETERS = {
    "CC": [("resolution.cc_half_significance_level", "0.1")],
    "VMXM": [
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
    ],
    "VMXI": [("remove_blanks", "true"), ("failover", "true")],
    "DAC": [
        ("dynamic_shadowing", "true"),
        ("ice_rings.filter", "true"),
        ("ice_rings.unit_cell", "3.1652,3.1652,3.1652,90,90,90"),
        ("ice_rings.space_group", "Im-3m"),
        ("ice_rings.width", "0.01"),
        ("scan_varying", "true"),
        ("resolution_range", "999,15"),
        ("keep_all_reflections", "false"),
        ("cc_half", "none"),
        ("isigma", "2"),
    ],
}


@dataclass(frozen=True)
class J:
    """A job of the table. `parameters` names sets in their order: SYM is there if known, ±SYM both with and without."""

    recipe: str
    display: str
    parameters: str = ""
    start: str = "always"
    sweeps: str = "none"
    may_burst: bool = False


@dataclass(frozen=True)
class Row:
    """A line of the table: recipes as text, jobs as such; `[sfx]` is `-eiger` for such a detector."""

    beamlines: str
    detectors: str
    event: str
    classes: str
    wanted: tuple[str | J, ...]
    with_other_sweeps: bool = False

    def holds(self, case: Case) -> bool:
        return (
            case.beamline in self.beamlines.split()
            and case.detector in self.detectors.split()
            and case.event == self.event
            and case.dc_class in self.classes.split()
            and (case.has_other_sweeps or not self.with_other_sweeps)
        )


@dataclass(frozen=True)
class Case:
    """What the table looks at."""

    beamline: str
    detector: str
    dc_class: str
    event: str
    symmetry: tuple[tuple[str, str], ...] = ()
    anomalous: bool = False
    preferred: str | None = None
    sweeps: tuple[tuple[int, int, int], ...] = ((DCID, 1, 100),)
    burst: tuple[str, ...] = ()
    """Parts of recipes that go to the cloud."""
    more: dict[str, object] = field(default_factory=dict)

    @property
    def has_other_sweeps(self) -> bool:
        return any(dcid != DCID for dcid, _, _ in self.sweeps)


def row(beamlines: str, detectors: str, event: str, classes: str, *wanted: str | J, with_other_sweeps=False) -> Row:
    return Row(beamlines, detectors, event, classes, wanted, with_other_sweeps)


def pipelines(vmxm: str = "") -> tuple[J, ...]:
    return (
        J("autoprocessing-xia2-dials[sfx]", "xia2 dials", f"CC ±SYM {vmxm} ABS", "xia2/DIALS", may_burst=True),
        J("autoprocessing-xia2-3dii[sfx]", "xia2 3dii", "CC ±SYM", "xia2/3dii", may_burst=True),
        J("autoprocessing-autoPROC[sfx]", "autoPROC", "±SYM", "autoPROC", may_burst=True),
    )


def at_once(job: J) -> J:
    return replace(job, start="always")


ALIGN = J("strategy-align-crystal", "align_crystal")
FAST_DP = J("autoprocessing-fast-dp[sfx]", "fast_dp", "GROUP")
PREVIEW = "generate-diffraction-preview"
NEXUS, AIMLESS_NEXUS = (
    "autoprocessing-multi-xia2-smallmolecule-nexus",
    "autoprocessing-multi-xia2-smallmolecule-d-a-nexus",
)
CBF, AIMLESS_CBF = "autoprocessing-multi-xia2-smallmolecule", "autoprocessing-multi-xia2-smallmolecule-dials-aiml"
I19 = "i19-1 i19-2"
MULTI = (
    J("autoprocessing-multi-xia2-dials[sfx]", "xia2 dials (multi)", "CC ±SYM ABS", "never", "all", may_burst=True),
    J("autoprocessing-multi-xia2-3dii[sfx]", "xia2 3dii (multi)", "CC ±SYM", "never", "all", may_burst=True),
)


def chemical(dials: str, aimless: str, dac: str = "") -> tuple[J, J]:
    return (
        J(dials, "xia2 dials", f"±SYM ABS {dac}", sweeps="all"),
        J(aimless, "xia2 dials-aimless", f"±SYM {dac}", sweeps="all"),
    )


TABLE = [
    row(MX, "PILATUS", "START", "GRIDSCAN", "archive-cbfs", "per-image-analysis-gridscan"),
    row(MX, "PILATUS", "START", NOT_GRID_NOT_SERIAL, "archive-cbfs", "per-image-analysis-rotation"),
    row("i24", "PILATUS", "START", SERIAL, "pia-index-ssx-pilatus"),
    row("i03", "EIGER", "START", "GRIDSCAN", "per-image-analysis-gridscan-i03-gpu"),
    row("i24", "EIGER", "START", SERIAL, "pia-index-ssx-swmr"),
    row(I19, "PILATUS", "START", ANY_CLASS, "per-image-analysis-rotation-i19"),
    row(MX, "EIGER", "END", ANY_CLASS, "archive-nexus"),
    row("i03", "EIGER", "END", "GRIDSCAN", "per-image-analysis-gridscan-i03-no-really"),
    row("i03", "EIGER", "END", NOT_GRID, "per-image-analysis-rotation-swmr"),
    row("i04 i04-1 i23 i24", "EIGER", "END", "GRIDSCAN", "per-image-analysis-gridscan-i03"),
    row("i04 i04-1 i23 i24", "EIGER", "END", NOT_GRID_NOT_SERIAL, "per-image-analysis-rotation-swmr"),
    row("i02-1", "EIGER", "END", "GRIDSCAN", "per-image-analysis-gridscan-swmr-vmxm"),
    row("i02-1", "EIGER", "END", NOT_GRID_NOT_SERIAL, "per-image-analysis-rotation-swmr-vmxm"),
    row(MX, ANY_DETECTOR, "END", "SCREENING", ALIGN, "strategy-mosflm", PREVIEW),
    row(MX, ANY_DETECTOR, "END", "CHARACTERIZATION", ALIGN, PREVIEW),
    row(MX, ANY_DETECTOR, "END", "ROTATION CHARACTERIZATION", "processing-rlv[sfx]", PREVIEW, FAST_DP),
    row(PLAIN_MX, ANY_DETECTOR, "END", "ROTATION CHARACTERIZATION", "processing-mmcif-gen"),
    row("i02-1", ANY_DETECTOR, "END", "ROTATION", *pipelines("VMXM")),
    row("i02-1", ANY_DETECTOR, "END", "CHARACTERIZATION", *map(at_once, pipelines("VMXM"))),
    row(PLAIN_MX, ANY_DETECTOR, "END", "ROTATION", *pipelines()),
    row(PLAIN_MX, ANY_DETECTOR, "END", "CHARACTERIZATION", *map(at_once, pipelines())),
    row(MX, ANY_DETECTOR, "END", "ROTATION", *MULTI, with_other_sweeps=True),
    row("i24", "PILATUS", "END", SERIAL, J("autoprocessing-xia2-ssx-pilatus", "xia2.ssx", "SYM", sweeps="all")),
    row("i24", "EIGER", "END", SERIAL, J("autoprocessing-xia2-ssx-eiger", "xia2.ssx", "SYM", sweeps="all")),
    row("i02-2", ANY_DETECTOR, "END", ANY_CLASS, "archive-nexus"),
    row(
        "i02-2",
        ANY_DETECTOR,
        "END",
        "GRIDSCAN",
        J("autoprocessing-xia2-ssx-eiger", "xia2.ssx", "SYM", sweeps="all"),
        "vmxi-spot-counts-per-image",
    ),
    row(
        "i02-2",
        ANY_DETECTOR,
        "END",
        "ROTATION CHARACTERIZATION",
        "vmxi-per-image-analysis",
        "processing-mmcif-gen",
        PREVIEW,
        J("autoprocessing-fast-dp-eiger", "fast_dp"),
        J("autoprocessing-xia2-dials-eiger-vmxi", "xia2 dials", "CC VMXI ABS", "xia2/DIALS"),
        J("autoprocessing-xia2-3dii-eiger", "xia2 3dii", "CC", "xia2/3dii"),
        J("autoprocessing-autoPROC-eiger", "autoPROC", "", "autoPROC"),
    ),
    row(I19, "PILATUS", "END", ANY_CLASS, "archive-cbfs", "processing-rlv", "strategy-screen19"),
    row(
        I19,
        "EIGER",
        "END",
        NOT_SERIAL,
        "archive-nexus",
        "processing-rlv-eiger",
        "strategy-screen19-eiger",
        "per-image-analysis-rotation-swmr-i19",
    ),
    row(I19, ANY_DETECTOR, "END", NOT_SERIAL, PREVIEW),
    row(I19, "PILATUS", "END", NOT_SERIAL.replace("DIAMOND_ANVIL_CELL", ""), *chemical(CBF, AIMLESS_CBF)),
    row(I19, "PILATUS", "END", "DIAMOND_ANVIL_CELL", *chemical(CBF, AIMLESS_CBF, "DAC")),
    row(I19, "EIGER NONE", "END", NOT_SERIAL.replace("DIAMOND_ANVIL_CELL", ""), *chemical(NEXUS, AIMLESS_NEXUS)),
    row(I19, "EIGER NONE", "END", "DIAMOND_ANVIL_CELL", *chemical(NEXUS, AIMLESS_NEXUS, "DAC")),
    row(I19, "EIGER", "END", SERIAL, J(NEXUS, "xia2 dials", "±SYM ABS", sweeps="own")),
    row(I19, "EIGER", "END_GROUP", SERIAL, "autoprocessing-i19serial-groupend"),
    row("i15", ANY_DETECTOR, "END", ANY_CLASS, "processing-rlv", "strategy-screen19", "per-image-analysis-rotation"),
    row(
        "i15",
        ANY_DETECTOR,
        "END",
        ANY_CLASS,
        J(CBF, "", "±SYM ABS", sweeps="all"),
        J(AIMLESS_CBF, "", "±SYM", sweeps="all"),
    ),
]


def expected(case: Case) -> set[tuple]:
    return {plain for line in TABLE if line.holds(case) for wanted in line.wanted for plain in expand(wanted, case)}


def expand(wanted: str | J, case: Case) -> Iterator[tuple]:
    suffix = "-eiger" if case.detector == "EIGER" else ""
    if isinstance(wanted, str):
        yield ("recipe", DCID, wanted.replace("[sfx]", suffix))
        return
    autostart = wanted.start in {"always", case.preferred}
    sweeps = {
        "none": (),
        "all": case.sweeps,
        "own": tuple(sweep for sweep in case.sweeps if sweep[0] == DCID),
    }[wanted.sweeps]
    in_cloud = (
        wanted.may_burst
        and suffix
        and wanted.display != {"xia2/DIALS": "xia2 dials", "xia2/3dii": "xia2 3dii"}.get(case.preferred, case.preferred)
        and any(part in wanted.recipe for part in case.burst)
    )
    recipe = wanted.recipe.replace("[sfx]", "-eiger-cloud" if in_cloud else suffix)
    variables = (("statistic-cluster", "iris"),) if in_cloud else ()
    for parameters in variants(wanted.parameters.split(), case):
        yield ("job", DCID, recipe, wanted.display, "automatic", "", autostart, parameters, sweeps, variables)


def variants(sets: list[str], case: Case) -> Iterator[tuple]:
    yield parameters_of([name.replace("±SYM", "nothing") for name in sets], case)
    if "±SYM" in sets and case.symmetry:
        yield parameters_of([name.replace("±SYM", "SYM") for name in sets], case)


def parameters_of(sets: list[str], case: Case) -> tuple:
    known = {
        **PARAMETERS,
        "nothing": [],
        "SYM": case.symmetry,
        "GROUP": case.symmetry[:1],
        "ABS": [("absorption_level", "high" if case.anomalous else "medium")],
    }
    return tuple(itertools.chain.from_iterable(known[name] for name in sets))


def scenario_of(case: Case) -> Scenario:
    return Scenario(
        dcid=DCID,
        dc_class=DCClass[case.dc_class],
        event=Event[case.event],
        beamline=case.beamline,
        visit=VISIT,
        run_status="DataCollection Successful",
        detector_class=None if case.detector == "NONE" else DetectorClass[case.detector],
        sweeps=tuple(ImageRange(*sweep) for sweep in case.sweeps),
        anomalous_scatterer=AnomalousScatterer("se") if case.anomalous else None,
        preferred_processing=case.preferred,
        **case.more,
    )


def plain(wanted: Invocation) -> tuple:
    if isinstance(wanted, RecipeInvocation):
        return ("recipe", wanted.dcid, wanted.recipe)
    return (
        "job",
        wanted.dcid,
        wanted.recipe,
        wanted.display_name,
        wanted.source,
        wanted.comment,
        wanted.autostart,
        tuple((parameter.key, parameter.value) for parameter in wanted.parameters),
        tuple((sweep.dcid, sweep.start, sweep.end) for sweep in wanted.sweeps),
        tuple((variable.key, variable.value) for variable in wanted.trigger_variables),
    )


GROUP_AND_CELL = {"space_group": SpaceGroup("P 41 21 2"), "unit_cell": UnitCell(78.1, 78.1, 37, 90, 90, 90.0)}
SYMMETRY = (("spacegroup", "P41212"), ("unit_cell", "78.1,78.1,37,90,90,90.0"))
OTHERS = ((1233, 1, 50), (DCID, 1, 100), (1240, 0, 0))


def cloud(*recipes: str, beamlines=tuple(EVERY_BEAMLINE), visits=("nt", VISIT[:4])) -> dict[str, object]:
    more = {"recipes": recipes} if recipes else {}
    return {"cloudbursting": (CloudGroup(visits=visits, beamlines=beamlines, **more),)}


WHAT_ELSE_IS_KNOWN = {
    "nothing": {},
    "space group": {"more": {"space_group": SpaceGroup("P21")}, "symmetry": (("spacegroup", "P1211"),)},
    "space group and cell": {"more": GROUP_AND_CELL, "symmetry": SYMMETRY},
    "a lone cell": {"more": {"unit_cell": UnitCell(78.1, 78.1, 37, 90, 90, 90)}},
    "anomalous scatterer": {"anomalous": True},
    "other sweeps": {"sweeps": OTHERS},
    "all of it": {"more": GROUP_AND_CELL, "symmetry": SYMMETRY, "anomalous": True, "sweeps": OTHERS},
    **{f"preferred {name}": {"preferred": name} for name in ("xia2/DIALS", "xia2/3dii", "autoPROC", "xia2/XDS")},
    "cloud": {"burst": ("autoprocessing",), "more": cloud(), "sweeps": OTHERS, "preferred": "xia2/DIALS"},
    "cloud for some": {
        "burst": ("multi", "autoPROC"),
        "more": {**cloud("multi", "autoPROC"), **GROUP_AND_CELL},
        "symmetry": SYMMETRY,
        "sweeps": OTHERS,
        "preferred": "autoPROC",
    },
    "cloud for others' visits": {"more": cloud(visits=("nt", "cm")), "sweeps": OTHERS},
    "cloud for no visit": {"more": cloud(visits=()), "sweeps": OTHERS},
    "cloud for other beamlines": {"more": cloud(beamlines=("b21x",)), "sweeps": OTHERS},
}


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return load_rules()


@pytest.mark.parametrize("known", WHAT_ELSE_IS_KNOWN)
@pytest.mark.parametrize("beamline", EVERY_BEAMLINE)
def test_decisions_are_those_of_the_table(rules, beamline, known):
    for detector, dc_class, event in itertools.product(ANY_DETECTOR.split(), DCClass, Event):
        case = Case(beamline, detector, dc_class.name, event.name, **WHAT_ELSE_IS_KNOWN[known])
        decision = rules.decide(scenario_of(case))
        assert decision.faults == ()
        decided = Counter(map(plain, decision.invocations))
        assert decided == Counter(expected(case)), case
        assert rules.invocations(scenario_of(case)) == decision.invocations


def test_the_table_is_the_whole_one():
    assert len(EVERY_BEAMLINE) * len(ANY_DETECTOR.split()) * len(DCClass) * len(Event) == 11 * 3 * 8 * 4
    assert set(ANY_CLASS.split()) == set(DCClass.__members__)


def test_the_page_names_every_recipe(rules):
    page = (CHECKOUT / "docs/reference/mimas.md").read_text()
    cases = itertools.product(EVERY_BEAMLINE, ANY_DETECTOR.split(), DCClass.__members__, Event.__members__)
    scenarios = (scenario_of(Case(*case, sweeps=OTHERS)) for case in cases)
    for recipe in {wanted.recipe for scenario in scenarios for wanted in rules.invocations(scenario)}:
        written = (f"`{recipe}`", f"`{recipe}[-eiger]`", f"`{recipe.removesuffix('-eiger')}[-eiger]`")
        assert any(name in page for name in written), recipe
