"""What every scenario is made by, wherever its facts come from: what counts, and what is left out with a warning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from blocks.errors import PlazaError
from blocks.validation_faults import reasons
from flows.display_text import shortened
from flows.mimas.scenario import DCClass, DetectorClass

# ISPyB may say several: the first of these counts, as for Zocalo's Mimas
PRECEDENCE: Final = {
    "serial_fixed": DCClass.SERIAL_FIXED,
    "serial_jet": DCClass.SERIAL_JET,
    "grid": DCClass.GRIDSCAN,
    "characterization": DCClass.CHARACTERIZATION,
    "screen": DCClass.SCREENING,
    "diamond_anvil_cell": DCClass.DIAMOND_ANVIL_CELL,
    "rotation": DCClass.ROTATION,
}

SHOWN_CHARACTERS: Final = 200  # of a fact that makes no sense, and of what is wrong with it
TEXT_CHARACTERS: Final = 300  # of a fact: ISPyB's columns take 255 at most, but SQLite's take anything
MOST_WARNINGS: Final = 20  # that are told of: of sweeps there may be thousands

Fact = TypeVar("Fact")


class InvalidScenario(PlazaError):
    """What is said of a data collection is too little for a decision, or makes none possible."""


class Warnings:
    """Facts that make no sense and so count as unset: a wrong cell must not cost the collection its processing.

    Parameters
    ----------
    source
        Where the facts stand, as the warnings tell it: ` in ISPyB`.
    """

    def __init__(self, source: str = "") -> None:
        self._source = source
        self._told: list[str] = []

    def sensible(self, label: str, make: Callable[..., Fact], *values: Any) -> Fact | None:
        """Make a fact of values; None, and a warning, if they make no sense."""
        try:
            return make(*values)
        except (ValidationError, TypeError) as error:
            reason = str(error) if isinstance(error, TypeError) else reasons(error)
            self.leave_out(label, ", ".join(map(str, values)), reason)
            return None

    def leave_out(self, label: str, seen: object, reason: str) -> None:
        """Tell of a fact that isn't used."""
        shown = shortened(str(seen), SHOWN_CHARACTERS)
        self.add(f"{label} {shown!r}{self._source} is left out: {shortened(reason, SHOWN_CHARACTERS)}")

    def add(self, warning: str) -> None:
        """Tell of something else."""
        self._told.append(warning)

    def all(self) -> tuple[str, ...]:
        """Return them, so many at most as people read."""
        more = len(self._told) - MOST_WARNINGS
        return (*self._told[:MOST_WARNINGS], f"{more} more facts are left out") if more > 0 else tuple(self._told)


def class_of(kinds: Mapping[str, Any]) -> DCClass:
    """Choose one class of those that hold."""
    return next((kind for name, kind in PRECEDENCE.items() if kinds.get(name)), DCClass.UNDEFINED)


def detector_family(name: object) -> DetectorClass | None:
    """Return the detector family; None for those without rules of their own."""
    wanted = name.strip().lower() if isinstance(name, str) else None
    return next((family for family in DetectorClass if family.value == wanted), None)


def bounded(value: Any) -> Any:
    """Leave out the middle of a long text."""
    return shortened(value, TEXT_CHARACTERS) if isinstance(value, str) else value
