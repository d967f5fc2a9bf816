"""From what ISPyB says of a data collection to the scenario that the rules judge."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from flows.mimas.scenario import (
    AnomalousScatterer,
    CloudGroup,
    Event,
    ImageRange,
    Scenario,
    SpaceGroup,
    UnitCell,
)
from flows.mimas.scenarios.facts import InvalidScenario, Warnings, bounded, class_of, detector_family

if TYPE_CHECKING:
    from tasks.ispyb_access.reading.parameters import DispatcherParameters
    from tasks.ispyb_access.reading.past.facts import CollectionFacts


def scenario_from_ispyb(
    collection: DispatcherParameters | CollectionFacts, event: Event, cloudbursting: tuple[CloudGroup, ...] = ()
) -> tuple[Scenario, tuple[str, ...]]:
    """Make the scenario of a data collection.

    Parameters
    ----------
    collection
        The data collection as it was read from ISPyB.
    event
        What happened to it.
    cloudbursting
        The groups of collections that may use the cloud just now.

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
    warnings = Warnings(" in ISPyB")
    sensible = warnings.sensible
    group, cell = collection.space_group, collection.unit_cell
    scatterer = collection.diffraction_plan.get("anomalousScatterer")
    sweeps = [sensible("sweep", _sweep, *sweep) for sweep in collection.related_sweeps]
    scenario = Scenario(
        dcid=collection.dcid,
        dc_class=class_of(collection.dc_class.model_dump()),
        event=event,
        beamline=bounded(collection.beamline),
        visit=bounded(collection.visit),
        run_status=bounded(collection.dc_info.get("runStatus")),
        detector_class=detector_family(collection.detectorclass),
        sweeps=tuple(sweep for sweep in sweeps if sweep),
        space_group=sensible("space group", SpaceGroup, group) if group else None,
        unit_cell=sensible("unit cell", UnitCell, *cell) if cell else None,
        anomalous_scatterer=sensible("anomalous scatterer", AnomalousScatterer, scatterer) if scatterer else None,
        preferred_processing=bounded(collection.preferred_processing),
        cloudbursting=cloudbursting,
    )
    return scenario, warnings.all()


@lru_cache(maxsize=10_000, typed=True)  # all collections of a group have the same: thousands, of serial ones
def _sweep(*values: Any) -> ImageRange:
    return ImageRange(*values)
