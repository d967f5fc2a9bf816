"""What runs when for serial crystallography on i24: many crystals, each on one image or a few.

Its files are archived as the other MX beamlines' are (`flows.mimas.rules.mx`).
"""

from __future__ import annotations

from collections.abc import Iterator

from flows.mimas.decision import Rule
from flows.mimas.parameter_sets import symmetry
from flows.mimas.rules.asking import Invoke, job_at_once, recipes
from flows.mimas.rules.conditions import is_eiger, is_end, is_i24, is_pilatus, is_serial, is_start
from flows.mimas.scenario import Invocation, Scenario


def serial_processing(recipe: str) -> Invoke:
    """Ask for the images processed and merged, at once, with the symmetry that is known."""

    def ask(scenario: Scenario) -> Iterator[Invocation]:
        yield job_at_once(scenario, recipe, "xia2.ssx", symmetry(scenario), scenario.sweeps)

    return ask


at_start, at_end = is_i24 & is_start & is_serial, is_i24 & is_end & is_serial

RULES: tuple[Rule, ...] = (
    Rule("serial Pilatus images start", at_start & is_pilatus, recipes("pia-index-ssx-pilatus")),
    Rule("serial Eiger images start", at_start & is_eiger, recipes("pia-index-ssx-swmr")),
    Rule("serial Pilatus processing", at_end & is_pilatus, serial_processing("autoprocessing-xia2-ssx-pilatus")),
    Rule("serial Eiger processing", at_end & is_eiger, serial_processing("autoprocessing-xia2-ssx-eiger")),
)
