"""Characterisation of a crystal, by procedures: one for each row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tasks.ispyb_access.writing.commands.screening import (
    Screening,
    ScreeningInput,
    ScreeningOutput,
    ScreeningOutputLattice,
    ScreeningStrategy,
    ScreeningStrategySubWedge,
    ScreeningStrategyWedge,
)
from tasks.ispyb_access.writing.procedures.calling import Connector, Procedure, filled


def insert_screening(ispyb: Connector, screening: Screening) -> int:
    """Write a characterisation and return its screeningId; the procedure looks for the group."""
    api = ispyb.mx_screening
    number: int = api.insert_screening(filled(api.get_screening_params(), dict(screening)))
    return number


def insert_screening_input(ispyb: Connector, given: ScreeningInput) -> int:
    """Write what a characterisation started from and return its screeningInputId."""
    api = ispyb.mx_screening
    number: int = api.insert_screening_input(filled(api.get_screening_input_params(), dict(given)))
    return number


def insert_screening_output(ispyb: Connector, found: ScreeningOutput) -> int:
    """Write what a characterisation found and return its screeningOutputId; it's taken for a success, as in Zocalo."""
    api = ispyb.mx_screening
    state = {"mosaicity_estimated": bool(found.mosaicity), "indexing_success": True, "strategy_success": True}
    number: int = api.insert_screening_output(filled(api.get_screening_output_params(), dict(found), **state))
    return number


def insert_screening_output_lattice(ispyb: Connector, lattice: ScreeningOutputLattice) -> int:
    """Write a characterisation's lattice and return its screeningOutputLatticeId."""
    api = ispyb.mx_screening
    template = api.get_screening_output_lattice_params()
    template["labelit_indexing"] = False  # the column's default, which the procedure would write over with NULL
    number: int = api.insert_screening_output_lattice(filled(template, dict(lattice)))
    return number


def insert_screening_strategy(ispyb: Connector, strategy: ScreeningStrategy) -> int:
    """Write a strategy and return its screeningStrategyId."""
    api = ispyb.mx_screening
    number: int = api.insert_screening_strategy(filled(api.get_screening_strategy_params(), dict(strategy)))
    return number


def insert_screening_strategy_wedge(ispyb: Connector, wedge: ScreeningStrategyWedge) -> int:
    """Write a wedge of a strategy and return its screeningStrategyWedgeId."""
    api = ispyb.mx_screening
    number: int = api.insert_screening_strategy_wedge(filled(api.get_screening_strategy_wedge_params(), dict(wedge)))
    return number


def insert_screening_strategy_sub_wedge(ispyb: Connector, sweep: ScreeningStrategySubWedge) -> int:
    """Write a sweep of a wedge and return its screeningStrategySubWedgeId; its number is always 1, as in Zocalo."""
    api = ispyb.mx_screening
    values = filled(api.get_screening_strategy_sub_wedge_params(), dict(sweep), sub_wedge_number=1)
    number: int = api.insert_screening_strategy_sub_wedge(values)
    return number


PROCEDURES: Final[Mapping[str, Procedure]] = {
    "insert_screening": insert_screening,
    "insert_screening_input": insert_screening_input,
    "insert_screening_output": insert_screening_output,
    "insert_screening_output_lattice": insert_screening_output_lattice,
    "insert_screening_strategy": insert_screening_strategy,
    "insert_screening_strategy_sub_wedge": insert_screening_strategy_sub_wedge,
    "insert_screening_strategy_wedge": insert_screening_strategy_wedge,
}

CALLS: Final[Mapping[str, tuple[str, ...]]] = {
    "insert_screening": ("insert_screening_v2",),
    "insert_screening_input": ("insert_screening_input",),
    "insert_screening_output": ("insert_screening_output_v2",),
    "insert_screening_output_lattice": ("insert_screening_output_lattice",),
    "insert_screening_strategy": ("insert_screening_strategy",),
    "insert_screening_strategy_sub_wedge": ("insert_screening_strategy_sub_wedge",),
    "insert_screening_strategy_wedge": ("insert_screening_strategy_wedge",),
}
