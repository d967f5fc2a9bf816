"""What runs when: Zocalo's decision table for the macromolecular crystallography beamlines.

Pure: no database, no Prefect, no paths. `docs/reference/mimas.md` shows the table in words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flows.mimas.decision import Rule
from flows.mimas.parameter_sets import CC_HALF, COPPER_GRID, ParameterSet, absorption, symmetry, symmetry_variants
from flows.mimas.predicates import HasOtherSweeps, beamline_is, class_is, detector_is, event_is
from flows.mimas.scenario import (
    DCClass,
    DetectorClass,
    Event,
    Invocation,
    ISPyBJobInvocation,
    RecipeInvocation,
    Scenario,
)

VMXM = "i02-1"
MX_BEAMLINES = (VMXM, "i03", "i04", "i04-1", "i23", "i24")
"""All but VMXi (i02-2), which has rules of its own."""

is_mx = beamline_is(*MX_BEAMLINES)
is_i03 = beamline_is("i03")
is_vmxm = beamline_is(VMXM)
is_start, is_end = event_is(Event.START), event_is(Event.END)
is_pilatus, is_eiger = detector_is(DetectorClass.PILATUS), detector_is(DetectorClass.EIGER)
is_gridscan = class_is(DCClass.GRIDSCAN)
is_serial = class_is(DCClass.SERIAL_FIXED, DCClass.SERIAL_JET)
is_screening = class_is(DCClass.SCREENING)
is_characterization = class_is(DCClass.CHARACTERIZATION)
is_rotation = class_is(DCClass.ROTATION)
has_other_sweeps = HasOtherSweeps()

# Recipes have the names that they have at Diamond, whose recipe files so run as they are
Invoke = Callable[[Scenario], Iterator[Invocation]]


def recipes(*names: str) -> Invoke:
    """Ask for recipes of fixed names."""
    return lambda scenario: (RecipeInvocation(scenario.dcid, name) for name in names)


def recipes_of_detector(*names: str) -> Invoke:
    """Ask for recipes whose names end in `-eiger` for such a detector."""
    return lambda scenario: (RecipeInvocation(scenario.dcid, name + _suffix(scenario)) for name in names)


def align_crystal(scenario: Scenario) -> Iterator[Invocation]:
    """Ask where to turn the crystal, at once."""
    yield ISPyBJobInvocation(scenario.dcid, True, "strategy-align-crystal", display_name="align_crystal")


def fast_dp(scenario: Scenario) -> Iterator[Invocation]:
    """Ask for the quick pipeline, at once; it takes a space group but no cell."""
    recipe = f"autoprocessing-fast-dp{_suffix(scenario)}"
    yield ISPyBJobInvocation(
        scenario.dcid, True, recipe, display_name="fast_dp", parameters=symmetry(scenario, with_cell=False)
    )


def pipelines(scenario: Scenario) -> Iterator[Invocation]:
    """Ask for the full pipelines, with and without the known symmetry; the preferred one starts at once."""
    rings = COPPER_GRID if is_vmxm(scenario) else ()
    for group_and_cell in symmetry_variants(scenario):
        dials_parameters = CC_HALF + group_and_cell + rings + absorption(scenario)
        yield _pipeline(scenario, "xia2/DIALS", "autoprocessing-xia2-dials", "xia2 dials", dials_parameters)
        yield _pipeline(scenario, "xia2/3dii", "autoprocessing-xia2-3dii", "xia2 3dii", CC_HALF + group_and_cell)
        yield _pipeline(scenario, "autoPROC", "autoprocessing-autoPROC", "autoPROC", group_and_cell)


def _pipeline(scenario: Scenario, pipeline: str, recipe: str, display: str, values: ParameterSet) -> ISPyBJobInvocation:
    # One who characterises waits for the answer before going on
    autostart = is_characterization(scenario) or scenario.preferred_processing == pipeline
    return ISPyBJobInvocation(
        scenario.dcid, autostart, recipe + _suffix(scenario), display_name=display, parameters=values
    )


def multi_crystal_pipelines(scenario: Scenario) -> Iterator[Invocation]:
    """Ask for the sweeps of the group processed together; never at once, since more sweeps may follow."""
    for group_and_cell in symmetry_variants(scenario):
        dials_parameters = CC_HALF + group_and_cell + absorption(scenario)
        yield _multi(scenario, "autoprocessing-multi-xia2-dials", "xia2 dials (multi)", dials_parameters)
        yield _multi(scenario, "autoprocessing-multi-xia2-3dii", "xia2 3dii (multi)", CC_HALF + group_and_cell)


def _multi(scenario: Scenario, recipe: str, display: str, values: ParameterSet) -> ISPyBJobInvocation:
    return ISPyBJobInvocation(
        scenario.dcid,
        False,
        recipe + _suffix(scenario),
        display_name=display,
        parameters=values,
        sweeps=scenario.sweeps,
    )


def _suffix(scenario: Scenario) -> str:
    return "-eiger" if is_eiger(scenario) else ""


at_start, at_end = is_mx & is_start, is_mx & is_end
is_ordinary = ~is_gridscan & ~is_serial
is_elsewhere = beamline_is("i04", "i04-1", "i23", "i24")
is_processed = is_rotation | is_characterization

RULES: tuple[Rule, ...] = (
    Rule(
        "Pilatus grid scan starts",
        at_start & is_pilatus & is_gridscan,
        recipes("archive-cbfs", "per-image-analysis-gridscan"),
    ),
    Rule(
        "Pilatus images start",
        at_start & is_pilatus & is_ordinary,
        recipes("archive-cbfs", "per-image-analysis-rotation"),
    ),
    Rule(
        "Eiger grid scan starts on i03",
        is_i03 & is_start & is_eiger & is_gridscan,
        recipes("per-image-analysis-gridscan-i03-gpu"),
    ),
    # CBFs are archived as they come, from the start on, Eiger's files when they are complete
    Rule("Eiger files are complete", at_end & is_eiger, recipes("archive-nexus")),
    Rule(
        "Eiger grid scan ends on i03",
        is_i03 & is_end & is_eiger & is_gridscan,
        recipes("per-image-analysis-gridscan-i03-no-really"),
    ),
    Rule(  # serial collections too, as Zocalo has it for i03, and for no other beamline
        "Eiger images end on i03",
        is_i03 & is_end & is_eiger & ~is_gridscan,
        recipes("per-image-analysis-rotation-swmr"),
    ),
    Rule(
        "Eiger grid scan ends",
        is_elsewhere & is_end & is_eiger & is_gridscan,
        recipes("per-image-analysis-gridscan-i03"),
    ),
    Rule(
        "Eiger images end",
        is_elsewhere & is_end & is_eiger & is_ordinary,
        recipes("per-image-analysis-rotation-swmr"),
    ),
    Rule(
        "Eiger grid scan ends on VMXm",
        is_vmxm & is_end & is_eiger & is_gridscan,
        recipes("per-image-analysis-gridscan-swmr-vmxm"),
    ),
    Rule(
        "Eiger images end on VMXm",
        is_vmxm & is_end & is_eiger & is_ordinary,
        recipes("per-image-analysis-rotation-swmr-vmxm"),
    ),
    Rule("align the crystal", at_end & (is_screening | is_characterization), align_crystal),
    Rule("screening strategy", at_end & is_screening, recipes("strategy-mosflm")),
    Rule("reciprocal lattice", at_end & is_processed, recipes_of_detector("processing-rlv")),
    # Of a characterization Zocalo asks for it twice
    Rule("preview", at_end & (is_processed | is_screening), recipes("generate-diffraction-preview")),
    Rule("metadata for deposition", at_end & is_processed & ~is_vmxm, recipes("processing-mmcif-gen")),
    Rule("quick processing", at_end & is_processed, fast_dp),
    Rule("processing pipelines", at_end & is_processed, pipelines),
    Rule("processing with other sweeps", at_end & is_rotation & has_other_sweeps, multi_crystal_pipelines),
)
