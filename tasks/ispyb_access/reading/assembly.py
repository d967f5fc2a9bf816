"""From what was read to the parameters that recipes know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.ispyb_access.reading import classification, image_files
from tasks.ispyb_access.reading.classification import DataCollectionClass
from tasks.ispyb_access.reading.collection import PIN, CollectionRow
from tasks.ispyb_access.reading.parameters import DispatcherParameters, EnergyScanInfo, RelatedCollections
from tasks.ispyb_access.reading.related import RelatedRow, Relation
from tasks.ispyb_access.reading.rows import DETECTOR, GROUP, PIPELINE, PLAN, PROTEIN, SAMPLE, SESSION, cell, plain
from tasks.ispyb_access.reading.visit import paths as visit_paths
from tasks.ispyb_access.reading.visit.files import PDBRow, VisitFiles

DEFAULT_PROCESSING = "xia2/DIALS"  # Zocalo's
X_RAY_DETECTION = "XrayDetection"
IN_PLATE = "/dls/mx"  # in-plate crystals: sweeps of a group are of different crystals


@dataclass(frozen=True)
class CollectionDetails:
    """What ISPyB says of a data collection beside its own row."""

    kind: DataCollectionClass
    grid: dict[str, Any]
    related: Sequence[RelatedRow]
    wells: dict[int, int] = field(default_factory=dict)
    energy_scan: EnergyScanInfo | None = None
    pdb_rows: Sequence[PDBRow] = ()
    events: Sequence[dict[str, Any]] = ()


def classify_collection(collection: CollectionRow, *, has_grid: bool) -> DataCollectionClass:
    """Tell what kind of experiment a data collection was."""
    return classification.classify(
        has_grid=has_grid,
        experiment_type=cell(collection.row, GROUP, "experimentType"),
        number_of_images=collection.info["numberOfImages"],
        overlap=collection.info["overlap"],
        axis_range=collection.info["axisRange"],
    )


def has_sweeps(kind: DataCollectionClass) -> bool:
    """Tell whether images may be integrated: not those of grids, of screenings, of electron microscopes."""
    return not kind.grid and not kind.screen and bool(kind.rotation or kind.serial_fixed or kind.serial_jet)


def assemble(
    collection: CollectionRow,
    details: CollectionDetails,
    files: VisitFiles,
    sample_groups: Sequence[RelatedCollections],
    guid: str,
) -> DispatcherParameters:
    """Join what was found in ISPyB and in the visit's folder."""
    row, info, kind = collection.row, collection.info, details.kind
    model, template = cell(row, DETECTOR, "detectorModel"), info["fileTemplate"]
    first, last = collection.image_range
    of_group = [some for some in details.related if some.relation is Relation.GROUP]
    sweeps = [(some.dcid, some.sweep) for some in of_group if some.sweep]
    return DispatcherParameters(
        dcid=collection.dcid,
        beamline=cell(row, SESSION, "beamLineName"),
        detectorclass=classification.detector_class(model, template),
        detectorname=classification.detector_name(model),
        dc_info={**info, "uuid": guid, "gridinfo": details.grid},
        dc_class=kind,
        dcg_experiment_type=cell(row, GROUP, "experimentType"),
        dcg_dcids=[some.dcid for some in of_group if some.dcid != collection.dcid],
        diffraction_plan=plain(row, PLAN) if cell(row, PLAN, "diffractionPlanId") is not None else {},
        protein_info=plain(row, PROTEIN) if collection.protein is not None else {},
        energy_scan_info=details.energy_scan,
        smiles=cell(row, SAMPLE, "SMILES"),
        preferred_processing=cell(row, PIPELINE, "name") or DEFAULT_PROCESSING,
        space_group=collection.space_group or files.space_group,
        unit_cell=collection.unit_cell or files.unit_cell,
        pin_info={name: cell(row, SAMPLE, name) for name in PIN},
        msp_sample_ids=details.wells,
        pdb=files.pdb,
        reference_geometry=files.reference_geometry,
        image_first=first,
        image_last=last,
        image_template=template,
        image_directory=info["imageDirectory"],
        image_pattern=None if template is None else image_files.image_pattern(template),
        related_sweeps=[(dcid, sweep.first, sweep.last) for dcid, sweep in sweeps],
        related_images=[(dcid, sweep.file) for dcid, sweep in sweeps],
        related_dcids=[*sample_groups, _same_sample_or_directory(collection, details.related)],
        **_places(collection, guid),
        **_images(collection, kind, of_group),
        **_events(kind, details.events),
    )


def _places(collection: CollectionRow, guid: str) -> dict[str, Any]:
    """Return what follows from where the images are."""
    info, (visit, visit_directory) = collection.info, collection.visit
    prefix, number = info["imagePrefix"], info["dataCollectionNumber"]
    project, crystal = visit_paths.xia2_names(visit, prefix, number)
    working = results = final = None
    if visit_directory is not None:
        name = image_files.collection_name(prefix, number, info["fileTemplate"])
        working, results, final = visit_paths.output_directories(info["imageDirectory"], visit_directory, name, guid)
    return {
        "visit": visit,
        "visit_directory": None if visit_directory is None else str(visit_directory),
        "working_directory": working,
        "results_directory": results,
        "final_directory": final,
        "project": project,
        "crystal": crystal,
    }


def _images(collection: CollectionRow, kind: DataCollectionClass, of_group: Sequence[RelatedRow]) -> dict[str, str]:
    """Return its own images, and those of the group's other rotations, which xia2 may process together with them."""
    images = {"images": ""} if collection.sweep is None else {"images": "", "image": str(collection.sweep)}
    if not has_sweeps(kind):
        return images
    others = [some.sweep for some in of_group if some.sweep and some.is_rotation and some.dcid != collection.dcid]
    in_plate = (collection.info["imageDirectory"] or "").startswith(IN_PLATE)
    return images | {"images": "" if in_plate else ",".join(map(str, others))}


def _events(kind: DataCollectionClass, events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    if not has_sweeps(kind):
        return {}
    shots = sum(event["repetition"] or 0 for event in events if event["eventType"] == X_RAY_DETECTION)
    return {"ssx_events": list(events) or None, "ssx_shots_per_image": int(shots) or None}


def _same_sample_or_directory(collection: CollectionRow, related: Sequence[RelatedRow]) -> RelatedCollections:
    if collection.sample is not None:
        dcids = [some.dcid for some in related if some.relation is Relation.SAMPLE]
        name = cell(collection.row, SAMPLE, "name")
        return RelatedCollections(dcids=dcids, sample_id=collection.sample, name=name)
    # Exactly the same: to MariaDB, upper and lower case are
    directory = collection.info["imageDirectory"]
    here = [some for some in related if some.relation is Relation.DIRECTORY and some.directory == directory]
    return RelatedCollections(dcids=[some.dcid for some in here if some.dcid != collection.dcid])
