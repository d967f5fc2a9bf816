"""What runs when on the beamlines of macromolecular crystallography but VMXi.

Pure: no database, no Prefect, no paths. `docs/reference/mimas.md` shows the table in words.
"""

from __future__ import annotations

from collections.abc import Iterator

from flows.mimas.decision import Rule
from flows.mimas.parameter_sets import (
    CC_HALF,
    COPPER_GRID,
    IN_THE_CLOUD,
    ParameterSet,
    absorption,
    symmetry,
    symmetry_variants,
)
from flows.mimas.predicates import beamline_is
from flows.mimas.rules.asking import detector_suffix, job_at_once, recipes, recipes_of_detector
from flows.mimas.rules.conditions import (
    has_other_sweeps,
    is_characterization,
    is_eiger,
    is_end,
    is_gridscan,
    is_i03,
    is_mx,
    is_pilatus,
    is_rotation,
    is_screening,
    is_serial,
    is_start,
    is_vmxm,
)
from flows.mimas.scenario import Invocation, ISPyBJobInvocation, Scenario


def align_crystal(scenario: Scenario) -> Iterator[Invocation]:
    """Ask where to turn the crystal, at once."""
    yield job_at_once(scenario, "strategy-align-crystal", "align_crystal")


def fast_dp(scenario: Scenario) -> Iterator[Invocation]:
    """Ask for the quick pipeline, at once; it takes a space group but no cell."""
    recipe = f"autoprocessing-fast-dp{detector_suffix(scenario)}"
    yield job_at_once(scenario, recipe, "fast_dp", symmetry(scenario, with_cell=False))


def pipelines(scenario: Scenario) -> Iterator[Invocation]:
    """Ask for the full pipelines, with and without the known symmetry; the preferred one starts at once."""
    rings = COPPER_GRID if is_vmxm(scenario) else ()
    for group_and_cell in symmetry_variants(scenario):
        dials_parameters = CC_HALF + group_and_cell + rings + absorption(scenario)
        yield _pipeline(scenario, "xia2/DIALS", "autoprocessing-xia2-dials", "xia2 dials", dials_parameters)
        yield _pipeline(scenario, "xia2/3dii", "autoprocessing-xia2-3dii", "xia2 3dii", CC_HALF + group_and_cell)
        yield _pipeline(scenario, "autoPROC", "autoprocessing-autoPROC", "autoPROC", group_and_cell)


def _pipeline(scenario: Scenario, pipeline: str, recipe: str, display: str, values: ParameterSet) -> ISPyBJobInvocation:
    is_preferred = scenario.preferred_processing == pipeline
    suffix, trigger_variables = _place(scenario, recipe, stays_here=is_preferred)
    return ISPyBJobInvocation(
        scenario.dcid,
        is_preferred or is_characterization(scenario),  # one who characterises waits for the answer before going on
        recipe + suffix,
        display_name=display,
        parameters=values,
        trigger_variables=trigger_variables,
    )


def multi_crystal_pipelines(scenario: Scenario) -> Iterator[Invocation]:
    """Ask for the sweeps of the group processed together; never at once, since more sweeps may follow."""
    for group_and_cell in symmetry_variants(scenario):
        dials_parameters = CC_HALF + group_and_cell + absorption(scenario)
        yield _multi(scenario, "autoprocessing-multi-xia2-dials", "xia2 dials (multi)", dials_parameters)
        yield _multi(scenario, "autoprocessing-multi-xia2-3dii", "xia2 3dii (multi)", CC_HALF + group_and_cell)


def _multi(scenario: Scenario, recipe: str, display: str, values: ParameterSet) -> ISPyBJobInvocation:
    suffix, trigger_variables = _place(scenario, recipe)
    return ISPyBJobInvocation(
        scenario.dcid,
        False,
        recipe + suffix,
        display_name=display,
        parameters=values,
        sweeps=scenario.sweeps,
        trigger_variables=trigger_variables,
    )


def _place(scenario: Scenario, recipe: str, *, stays_here: bool = False) -> tuple[str, ParameterSet]:
    """Return the suffix of a pipeline's recipe and its trigger variables, by which it runs here or in the cloud."""
    may_leave = scenario.cloudbursting and is_eiger(scenario) and not stays_here
    if may_leave and any(
        part in recipe for group in scenario.cloudbursting if group.has(scenario) for part in group.recipes
    ):
        return "-eiger-cloud", IN_THE_CLOUD
    return detector_suffix(scenario), ()


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
    Rule(
        "preview of a screening", at_end & (is_screening | is_characterization), recipes("generate-diffraction-preview")
    ),
    Rule("reciprocal lattice", at_end & is_processed, recipes_of_detector("processing-rlv")),
    Rule("preview", at_end & is_rotation, recipes("generate-diffraction-preview")),
    Rule("metadata for deposition", at_end & is_processed & ~is_vmxm, recipes("processing-mmcif-gen")),
    Rule("quick processing", at_end & is_processed, fast_dp),
    Rule("processing pipelines", at_end & is_processed, pipelines),
    Rule("processing with other sweeps", at_end & is_rotation & has_other_sweeps, multi_crystal_pipelines),
)
