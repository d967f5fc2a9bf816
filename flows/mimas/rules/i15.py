"""What runs when on I15, extreme conditions: every collection at its end."""

from __future__ import annotations

from collections.abc import Iterator

from flows.mimas.decision import Rule
from flows.mimas.parameter_sets import absorption, symmetry_variants
from flows.mimas.rules.asking import job_at_once, recipes
from flows.mimas.rules.conditions import is_end, is_i15
from flows.mimas.scenario import Invocation, Scenario


def group_processing(scenario: Scenario) -> Iterator[Invocation]:
    """Ask for the sweeps of the group processed together in two ways, with and without the known symmetry.

    The jobs have no name to be shown by, as with Zocalo.
    """
    for group_and_cell in symmetry_variants(scenario):
        dials_parameters = group_and_cell + absorption(scenario)
        yield job_at_once(scenario, "autoprocessing-multi-xia2-smallmolecule", "", dials_parameters, scenario.sweeps)
        yield job_at_once(
            scenario, "autoprocessing-multi-xia2-smallmolecule-dials-aiml", "", group_and_cell, scenario.sweeps
        )


at_end = is_i15 & is_end

RULES: tuple[Rule, ...] = (
    Rule("I15 images end", at_end, recipes("processing-rlv", "strategy-screen19", "per-image-analysis-rotation")),
    Rule("I15 processing", at_end, group_processing),
)
