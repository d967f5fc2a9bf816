"""What Mimas decides by of a data collection: the few of the recipes' parameters that it looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from blocks.identifiers import Dcid
from tasks.ispyb_access.reading import classification
from tasks.ispyb_access.reading.assembly import DEFAULT_PROCESSING, classify_collection
from tasks.ispyb_access.reading.classification import DataCollectionClass
from tasks.ispyb_access.reading.parameters import UnitCell
from tasks.ispyb_access.reading.past.statements import NarrowRow, Sweep
from tasks.ispyb_access.reading.past.visit_crystals import NOTHING, Crystal
from tasks.ispyb_access.reading.rows import DETECTOR, PIPELINE, PLAN, SESSION, cell


@dataclass(frozen=True, slots=True)
class CollectionFacts:
    """A data collection as Mimas sees it; each field as that of `DispatcherParameters`, of the dictionaries a part."""

    dcid: Dcid
    beamline: str | None
    visit: str | None
    detectorclass: str | None
    dc_class: DataCollectionClass
    dc_info: Mapping[str, Any]
    """`runStatus` and `startTime`."""
    diffraction_plan: Mapping[str, Any]
    """`anomalousScatterer`."""
    related_sweeps: Sequence[Sweep]
    space_group: str
    unit_cell: UnitCell | None
    preferred_processing: str


@dataclass(frozen=True)
class UnreadCollection:
    """A data collection whose row makes no sense, and why."""

    dcid: Dcid
    reason: str


def facts_of(
    collection: NarrowRow, group: Sequence[Sweep], crystal: Crystal = NOTHING, *, has_grid: bool
) -> CollectionFacts:
    """Join what was read of a data collection.

    Parameters
    ----------
    group
        The sweeps of its group.
    crystal
        What the visit's YAML file says.
    """
    row, info = collection.row, collection.info
    file_group, file_cell = crystal
    visit, _ = collection.visit
    return CollectionFacts(
        dcid=collection.dcid,
        beamline=cell(row, SESSION, "beamLineName"),
        visit=visit,
        detectorclass=classification.detector_class(cell(row, DETECTOR, "detectorModel"), info["fileTemplate"]),
        dc_class=classify_collection(collection, has_grid=has_grid),
        dc_info={"runStatus": info["runStatus"], "startTime": info["startTime"]},
        diffraction_plan={"anomalousScatterer": cell(row, PLAN, "anomalousScatterer")},
        related_sweeps=group,
        space_group=collection.space_group or file_group,
        unit_cell=collection.unit_cell or file_cell,
        preferred_processing=cell(row, PIPELINE, "name") or DEFAULT_PROCESSING,
    )
