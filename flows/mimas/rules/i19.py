"""What runs when on I19, chemical crystallography, in both of its hutches."""

from __future__ import annotations

from collections.abc import Iterator

from flows.mimas.decision import Rule
from flows.mimas.parameter_sets import DIAMOND_ANVIL_CELL, absorption, symmetry_variants
from flows.mimas.rules.asking import job_at_once, recipes
from flows.mimas.rules.conditions import (
    has_own_sweep,
    is_diamond_anvil_cell,
    is_eiger,
    is_end,
    is_end_group,
    is_i19,
    is_pilatus,
    is_serial,
    is_start,
)
from flows.mimas.scenario import Invocation, Scenario

DIALS = "autoprocessing-multi-xia2-smallmolecule"
DIALS_NEXUS = "autoprocessing-multi-xia2-smallmolecule-nexus"
AIMLESS = "autoprocessing-multi-xia2-smallmolecule-dials-aiml"
AIMLESS_NEXUS = "autoprocessing-multi-xia2-smallmolecule-d-a-nexus"


def group_processing(scenario: Scenario) -> Iterator[Invocation]:
    """Ask for the sweeps of the group scaled by DIALS and by AIMLESS, at once, with and without the known symmetry."""
    dials, aimless = (DIALS, AIMLESS) if is_pilatus(scenario) else (DIALS_NEXUS, AIMLESS_NEXUS)
    of_cell = DIAMOND_ANVIL_CELL if is_diamond_anvil_cell(scenario) else ()
    for group_and_cell in symmetry_variants(scenario):
        dials_parameters = group_and_cell + absorption(scenario) + of_cell
        yield job_at_once(scenario, dials, "xia2 dials", dials_parameters, scenario.sweeps)
        yield job_at_once(scenario, aimless, "xia2 dials-aimless", group_and_cell + of_cell, scenario.sweeps)


def own_processing(scenario: Scenario) -> Iterator[Invocation]:
    """Ask for a serial collection's own images processed: the group's are, when it has ended."""
    own = tuple(dict.fromkeys(sweep for sweep in scenario.sweeps if sweep.dcid == scenario.dcid))
    for group_and_cell in symmetry_variants(scenario):
        yield job_at_once(scenario, DIALS_NEXUS, "xia2 dials", group_and_cell + absorption(scenario), own)


at_start, at_end, at_end_of_group = is_i19 & is_start, is_i19 & is_end, is_i19 & is_end_group

RULES: tuple[Rule, ...] = (
    Rule("I19 Pilatus images start", at_start & is_pilatus, recipes("per-image-analysis-rotation-i19")),
    Rule("I19 Pilatus images end", at_end & is_pilatus, recipes("archive-cbfs", "processing-rlv", "strategy-screen19")),
    Rule(
        "I19 Eiger images end",
        at_end & is_eiger & ~is_serial,
        recipes(
            "archive-nexus",
            "processing-rlv-eiger",
            "strategy-screen19-eiger",
            "per-image-analysis-rotation-swmr-i19",
        ),
    ),
    Rule("I19 preview", at_end & ~is_serial, recipes("generate-diffraction-preview")),
    Rule("I19 processing", at_end & ~is_serial, group_processing),
    # Where ISPyB doesn't say which images are its own, there is nothing to process; Zocalo's rule fails, and with it
    # all that it was to decide
    Rule("I19 serial processing", at_end & is_eiger & is_serial & has_own_sweep, own_processing),
    Rule(
        "I19 serial group ends",
        at_end_of_group & is_eiger & is_serial,
        recipes("autoprocessing-i19serial-groupend"),
    ),
)
