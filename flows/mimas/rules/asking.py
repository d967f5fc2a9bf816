"""What rules of several science areas ask for in the same way.

Recipes have the names that they have at Diamond, whose recipe files so run as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flows.mimas.parameter_sets import ParameterSet
from flows.mimas.rules.conditions import is_eiger
from flows.mimas.scenario import ImageRange, Invocation, ISPyBJobInvocation, RecipeInvocation, Scenario

Invoke = Callable[[Scenario], Iterator[Invocation]]


def recipes(*names: str) -> Invoke:
    """Ask for recipes of fixed names."""
    return lambda scenario: (RecipeInvocation(scenario.dcid, name) for name in names)


def recipes_of_detector(*names: str) -> Invoke:
    """Ask for recipes whose names end in `-eiger` for such a detector."""
    return lambda scenario: (RecipeInvocation(scenario.dcid, name + detector_suffix(scenario)) for name in names)


def detector_suffix(scenario: Scenario) -> str:
    """Return what the names of recipes for an Eiger end in."""
    return "-eiger" if is_eiger(scenario) else ""


def job_at_once(
    scenario: Scenario,
    recipe: str,
    display_name: str,
    parameters: ParameterSet = (),
    sweeps: tuple[ImageRange, ...] = (),
) -> ISPyBJobInvocation:
    """Ask for a job that starts as soon as it's created."""
    return ISPyBJobInvocation(
        scenario.dcid, True, recipe, display_name=display_name, parameters=parameters, sweeps=sweeps
    )
