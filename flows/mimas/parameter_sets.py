"""The parameters that processing jobs are given, in the order of their command lines."""

from __future__ import annotations

from flows.mimas.scenario import JobParameter, Scenario

ParameterSet = tuple[JobParameter, ...]


def parameter_set(**values: str) -> ParameterSet:
    """Make a set of keywords."""
    return tuple(JobParameter(key, value) for key, value in values.items())


# xia2's resolution limit: where CC½ stops to differ from 0 at this level of significance
CC_HALF: ParameterSet = (JobParameter("resolution.cc_half_significance_level", "0.1"),)

# VMXm's crystals lie on grids of copper (face-centred cubic, 3.615 Å), whose rings are treated like ice rings. They are
# small and diffract weakly, so that spots are searched for with a larger kernel and lower thresholds, and blank images
# taken out.
COPPER_GRID: ParameterSet = tuple(
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

# VMXi turns crystals in their plates, past drops and walls: xia2 goes on without what shows nothing
MANY_BLANK_IMAGES: ParameterSet = (JobParameter("remove_blanks", "true"), JobParameter("failover", "true"))

# A diamond anvil cell shadows the detector, and its gasket of tungsten (body-centred cubic, 3.1652 Å) gives rings,
# which are treated like those of ice. What little of the crystal is seen needs stronger reflections, and less of them.
DIAMOND_ANVIL_CELL: ParameterSet = tuple(
    JobParameter(key, value)
    for key, value in {
        "dynamic_shadowing": "true",
        "ice_rings.filter": "true",
        "ice_rings.unit_cell": "3.1652,3.1652,3.1652,90,90,90",
        "ice_rings.space_group": "Im-3m",
        "ice_rings.width": "0.01",
        "scan_varying": "true",
        "resolution_range": "999,15",
        "keep_all_reflections": "false",
        "cc_half": "none",
        "isigma": "2",
    }.items()
)

# Held until the cloud's cluster, not the facility's, has room for it
IN_THE_CLOUD: ParameterSet = (JobParameter("statistic-cluster", "iris"),)

_MEDIUM: ParameterSet = (JobParameter("absorption_level", "medium"),)
_HIGH: ParameterSet = (JobParameter("absorption_level", "high"),)


def symmetry(scenario: Scenario, *, with_cell: bool = True) -> ParameterSet:
    """Return the known space group and cell; a cell without a group says nothing to the programs."""
    if scenario.space_group is None:
        return ()
    group = parameter_set(spacegroup=scenario.space_group.string)
    if scenario.unit_cell is None or not with_cell:
        return group
    return group + parameter_set(unit_cell=scenario.unit_cell.string)


def symmetry_variants(scenario: Scenario) -> tuple[ParameterSet, ...]:
    """Return one set that lets programs find the symmetry, and one with the known symmetry if there is one."""
    known = symmetry(scenario)
    return ((), known) if known else ((),)


def absorption(scenario: Scenario) -> ParameterSet:
    """Ask for strong absorption correction where an anomalous signal is looked for."""
    return _HIGH if scenario.anomalous_scatterer else _MEDIUM
