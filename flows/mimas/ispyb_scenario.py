"""From what ISPyB says of a data collection to the scenario that the rules judge."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import ValidationError

from blocks.errors import PlazaError
from blocks.validation_faults import reasons
from flows.display_text import shortened
from flows.mimas.scenario import (
    AnomalousScatterer,
    DCClass,
    DetectorClass,
    Event,
    ImageRange,
    Scenario,
    SpaceGroup,
    UnitCell,
)

if TYPE_CHECKING:
    from tasks.ispyb_access.reading.classification import DataCollectionClass
    from tasks.ispyb_access.reading.parameters import DispatcherParameters

# ISPyB may say several: the first of these counts, as for Zocalo's Mimas
PRECEDENCE = {
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
    """What ISPyB says of a data collection is too little for a decision."""


def scenario_from_ispyb(collection: DispatcherParameters, event: Event) -> tuple[Scenario, tuple[str, ...]]:
    """Make the scenario of a data collection.

    Parameters
    ----------
    collection
        The data collection as it was read from ISPyB.
    event
        What happened to it.

    Returns
    -------
    tuple[Scenario, tuple[str, ...]]
        The scenario, and a warning for each fact that makes no sense and so counts as unset.

    Raises
    ------
    InvalidScenario
        A fact that every decision needs is missing: the beamline.
    """
    if not collection.beamline:
        raise InvalidScenario(
            f"data collection {collection.dcid} names no beamline: expected ISPyB's BLSession.beamLineName of its "
            "session; give the data collection (or its group) a session, then send the event again"
        )
    warnings: list[str] = []

    def sensible(label: str, make: Callable[..., Fact], *values: Any) -> Fact | None:
        try:
            return make(*values)
        except (
            ValidationError,
            TypeError,
        ) as error:  # as Zocalo: a wrong cell must not cost the collection its processing
            shown = shortened(", ".join(map(str, values)), SHOWN_CHARACTERS)
            warnings.append(f"{label} {shown!r} in ISPyB is left out: {shortened(_reason(error), SHOWN_CHARACTERS)}")
            return None

    group, cell = collection.space_group, collection.unit_cell
    scatterer = collection.diffraction_plan.get("anomalousScatterer")
    sweeps = [sensible("sweep", ImageRange, *sweep) for sweep in collection.related_sweeps]
    scenario = Scenario(
        dcid=collection.dcid,
        dc_class=dc_class(collection.dc_class),
        event=event,
        beamline=shortened(collection.beamline, TEXT_CHARACTERS),
        visit=_bounded(collection.visit),
        run_status=_bounded(collection.dc_info.get("runStatus")),
        detector_class=detector_family(collection.detectorclass),
        sweeps=tuple(sweep for sweep in sweeps if sweep),
        space_group=sensible("space group", SpaceGroup, group) if group else None,
        unit_cell=sensible("unit cell", UnitCell, *cell) if cell else None,
        anomalous_scatterer=sensible("anomalous scatterer", AnomalousScatterer, scatterer) if scatterer else None,
        preferred_processing=_bounded(collection.preferred_processing),
    )
    return scenario, _told(warnings)


def dc_class(kinds: DataCollectionClass) -> DCClass:
    """Choose one class of those that hold."""
    return next((kind for name, kind in PRECEDENCE.items() if getattr(kinds, name)), DCClass.UNDEFINED)


def detector_family(name: str | None) -> DetectorClass | None:
    """Return the detector family; None for those without rules of their own."""
    return next((family for family in DetectorClass if family.value == name), None)


def _bounded(value: Any) -> Any:
    return shortened(value, TEXT_CHARACTERS) if isinstance(value, str) else value


def _told(warnings: list[str]) -> tuple[str, ...]:
    more = len(warnings) - MOST_WARNINGS
    return (*warnings[:MOST_WARNINGS], f"{more} more facts are left out") if more > 0 else tuple(warnings)


def _reason(error: ValidationError | TypeError) -> str:
    return str(error) if isinstance(error, TypeError) else reasons(error)
