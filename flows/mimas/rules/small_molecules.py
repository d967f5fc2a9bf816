"""How the beamlines of chemical crystallography process: the sweeps of a group together, at once."""

from __future__ import annotations

from flows.mimas.parameter_sets import ParameterSet
from flows.mimas.rules.asking import job_at_once
from flows.mimas.scenario import ImageRange, ISPyBJobInvocation, Scenario

DIALS = "autoprocessing-multi-xia2-smallmolecule"
DIALS_NEXUS = "autoprocessing-multi-xia2-smallmolecule-nexus"
AIMLESS = "autoprocessing-multi-xia2-smallmolecule-dials-aiml"
AIMLESS_NEXUS = "autoprocessing-multi-xia2-smallmolecule-d-a-nexus"


def scaled_by_dials(
    scenario: Scenario, recipe: str, values: ParameterSet, sweeps: tuple[ImageRange, ...]
) -> ISPyBJobInvocation:
    """Ask for sweeps integrated and scaled by DIALS."""
    return job_at_once(scenario, recipe, "xia2 dials", values, sweeps)


def scaled_by_aimless(
    scenario: Scenario, recipe: str, values: ParameterSet, sweeps: tuple[ImageRange, ...]
) -> ISPyBJobInvocation:
    """Ask for sweeps integrated by DIALS and scaled by AIMLESS, which knows no absorption level."""
    return job_at_once(scenario, recipe, "xia2 dials-aimless", values, sweeps)
