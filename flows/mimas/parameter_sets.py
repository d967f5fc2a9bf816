"""The parameters that processing jobs are given, in the order of their command lines."""

from __future__ import annotations

from flows.mimas.scenario import JobParameter, Scenario

Parameters = tuple[JobParameter, ...]


def parameters(**values: str) -> Parameters:
    """Make parameters of keywords."""
    return tuple(JobParameter(key, value) for key, value in values.items())


CC_HALF: Parameters = (JobParameter("resolution.cc_half_significance_level", "0.1"),)

# VMXm's crystals lie on copper grids: its rings are treated like ice rings. They are small and diffract weakly,
# so that spots are searched for with a larger kernel and lower thresholds, and blank images taken out.
COPPER_GRID: Parameters = tuple(
    JobParameter(key, value)
    for key, value in {
        "ice_rings.unit_cell": "3.615,3.615,3.615,90,90,90",
        "ice_rings.space_group": "fm-3m",
        "ice_rings.width": "0.01",
        "ice_rings.filter": "true",
        "failover": "true",
        "remove_blanks": "true",
        "spotfinder.filter.max_separation": "8",
        "spotfinder.threshold.dispersion.kernel_size": "6,6",
        "spotfinder.threshold.dispersion.sigma_background": "3",
        "spotfinder.threshold.dispersion.sigma_strong": "1",
    }.items()
)


def symmetry(scenario: Scenario, *, with_cell: bool = True) -> Parameters:
    """Return the known space group and cell; a cell without a group says nothing to the programs."""
    if scenario.space_group is None:
        return ()
    group = parameters(spacegroup=scenario.space_group.string)
    if scenario.unit_cell is None or not with_cell:
        return group
    return group + parameters(unit_cell=scenario.unit_cell.string)


def symmetry_variants(scenario: Scenario) -> tuple[Parameters, ...]:
    """Return one set that lets programs find the symmetry, and one with the known symmetry if there is one."""
    known = symmetry(scenario)
    return ((), known) if known else ((),)


def absorption(scenario: Scenario) -> Parameters:
    """Ask for strong absorption correction where an anomalous signal is looked for."""
    return parameters(absorption_level="high" if scenario.anomalous_scatterer else "medium")
