"""Read what a recipe needs of a data collection: one joined SELECT, then grid, group and pin."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from ispyb.sqlalchemy import Base
from sqlalchemy import Connection, Engine, Row, Select, Table, func, select
from sqlalchemy.engine import RowMapping
from sqlalchemy.sql import FromClause

from blocks.errors import UnknownDataCollection
from blocks.ispyb_connection import describe, transaction
from tasks.ispyb_access import parameters as rules
from tasks.ispyb_access.parameters import DispatcherParameters

TABLES = Base.metadata.tables
COLLECTION = TABLES["DataCollection"]
GROUP = TABLES["DataCollectionGroup"]
GRID = TABLES["GridInfo"]
SESSION = TABLES["BLSession"]
PROPOSAL = TABLES["Proposal"]
DETECTOR = TABLES["Detector"]
SAMPLE = TABLES["BLSample"]
CRYSTAL = TABLES["Crystal"]
PROTEIN = TABLES["Protein"]
CONTAINER = TABLES["Container"]
PIPELINE = TABLES["ProcessingPipeline"]
PLAN = TABLES["DiffractionPlan"]

DEFAULT_PROCESSING = "xia2/DIALS"
CELL = ("cell_a", "cell_b", "cell_c", "cell_alpha", "cell_beta", "cell_gamma")
SWEEP = (
    "dataCollectionId",
    "startImageNumber",
    "numberOfImages",
    "imageDirectory",
    "fileTemplate",
    "overlap",
    "axisRange",
)
PIN = ("containerId", "location", "subLocation", "loopType")


def read_data_collection(engine: Engine, dcid: int, guid: str) -> DispatcherParameters:
    """Read the recipe parameters of a data collection, in at most five statements.

    Parameters
    ----------
    engine
        ISPyB.
    dcid
        The data collection.
    guid
        The recipe run: the last component of its directories.

    Raises
    ------
    UnknownDataCollection
        There is none of this id.
    DatabaseUnavailable
        ISPyB can't be reached.
    """
    with transaction(engine, read_only=True) as connection:
        row = connection.execute(_joined(dcid)).mappings().one_or_none()
        if row is None:
            raise UnknownDataCollection(
                f"ISPyB at {describe(engine)} has no data collection {dcid}: check the dcid, and that this is the "
                "database that the beamline writes to"
            )
        group = row[COLLECTION.c.dataCollectionGroupId]
        return _assemble(row, _grid(connection, dcid, group), _siblings(connection, group), _pin(connection, row), guid)


def read_run_status(engine: Engine, dcid: int) -> str | None:
    """Return how a data collection stands (`runStatus`); None while the beamline hasn't said.

    Raises
    ------
    UnknownDataCollection
        There is none of this id.
    DatabaseUnavailable
        ISPyB can't be reached.
    """
    with transaction(engine, read_only=True) as connection:
        found = connection.execute(select(COLLECTION.c.runStatus).where(COLLECTION.c.dataCollectionId == dcid)).first()
    if found is None:
        raise UnknownDataCollection(f"ISPyB at {describe(engine)} has no data collection {dcid}")
    status: str | None = found.runStatus
    return status


def _joined(dcid: int) -> Select[Any]:
    # The collection's own session and sample have no foreign key and 0 may stand for none: then the group's are used.
    session = func.coalesce(func.nullif(COLLECTION.c.SESSIONID, 0), GROUP.c.sessionId)
    sample = func.coalesce(func.nullif(COLLECTION.c.BLSAMPLEID, 0), GROUP.c.blSampleId)
    tables: FromClause = COLLECTION
    for table, condition in (
        (GROUP, GROUP.c.dataCollectionGroupId == COLLECTION.c.dataCollectionGroupId),
        (SESSION, SESSION.c.sessionId == session),
        (PROPOSAL, PROPOSAL.c.proposalId == SESSION.c.proposalId),
        (DETECTOR, DETECTOR.c.detectorId == COLLECTION.c.detectorId),
        (SAMPLE, SAMPLE.c.blSampleId == sample),
        (CRYSTAL, CRYSTAL.c.crystalId == SAMPLE.c.crystalId),
        (PROTEIN, PROTEIN.c.proteinId == CRYSTAL.c.proteinId),
        (CONTAINER, CONTAINER.c.containerId == SAMPLE.c.containerId),
        (PIPELINE, PIPELINE.c.processingPipelineId == CONTAINER.c.priorityPipelineId),
        (PLAN, PLAN.c.diffractionPlanId == SAMPLE.c.diffractionPlanId),
    ):
        tables = tables.outerjoin(table, condition)
    columns = (
        *COLLECTION.c,
        *PLAN.c,
        *PROTEIN.c,
        GROUP.c.experimentType,
        SESSION.c.beamLineName,
        SESSION.c.visit_number,
        PROPOSAL.c.proposalCode,
        PROPOSAL.c.proposalNumber,
        DETECTOR.c.detectorModel,
        SAMPLE.c.blSampleId,
        SAMPLE.c.SMILES,
        *(SAMPLE.c[name] for name in PIN),
        CRYSTAL.c.spaceGroup,
        *(CRYSTAL.c[name] for name in CELL),
        PIPELINE.c.name,
    )
    return select(*columns).select_from(tables).where(COLLECTION.c.dataCollectionId == dcid)


def _grid(connection: Connection, dcid: int, group: int | None) -> dict[str, Any]:
    # Two indexed look-ups: OR would use neither index. Old rows know the group only.
    for condition in (GRID.c.dataCollectionId == dcid, GRID.c.dataCollectionGroupId == group):
        row = connection.execute(select(GRID).where(condition).order_by(GRID.c.gridInfoId).limit(1)).mappings().first()
        if row is not None:
            return _plain(row, GRID)
    return {}


def _siblings(connection: Connection, group: int | None) -> Sequence[Row[Any]]:
    """Return the data collections of the group, the given one among them."""
    statement = select(*(COLLECTION.c[name] for name in SWEEP)).where(COLLECTION.c.dataCollectionGroupId == group)
    return connection.execute(statement.order_by(COLLECTION.c.dataCollectionId)).all()


def _pin(connection: Connection, row: RowMapping) -> dict[int, int]:
    """Return the samples of a pin with several wells, by well."""
    if not (row[SAMPLE.c.loopType] or "").startswith("multipin"):
        return {}
    statement = select(SAMPLE.c.subLocation, SAMPLE.c.blSampleId).where(
        SAMPLE.c.containerId == row[SAMPLE.c.containerId],
        SAMPLE.c.location == row[SAMPLE.c.location],
        SAMPLE.c.subLocation.is_not(None),
    )
    return {row.subLocation: row.blSampleId for row in connection.execute(statement)}


def _assemble(
    row: RowMapping, grid: dict[str, Any], siblings: Sequence[Row[Any]], wells: dict[int, int], guid: str
) -> DispatcherParameters:
    info = _plain(row, COLLECTION)
    dcid = info["dataCollectionId"]
    kind = rules.classify(
        has_grid=bool(grid),
        experiment_type=row[GROUP.c.experimentType],
        number_of_images=info["numberOfImages"],
        overlap=info["overlap"],
        axis_range=info["axisRange"],
    )
    model, template = row[DETECTOR.c.detectorModel], info["fileTemplate"]
    first, last = _image_range(info["startImageNumber"], info["numberOfImages"])
    sweeps = {sibling.dataCollectionId: sweep for sibling in siblings if (sweep := _sweep(sibling))}
    return DispatcherParameters(
        dcid=dcid,
        beamline=row[SESSION.c.beamLineName],
        detectorclass=rules.detector_class(model, template),
        detectorname=rules.detector_name(model),
        dc_info=info | {"uuid": guid, "gridinfo": grid},
        dc_class=kind,
        dcg_experiment_type=row[GROUP.c.experimentType],
        dcg_dcids=tuple(sibling.dataCollectionId for sibling in siblings if sibling.dataCollectionId != dcid),
        diffraction_plan=_plain(row, PLAN) if row[PLAN.c.diffractionPlanId] is not None else {},
        protein_info=_plain(row, PROTEIN) if row[PROTEIN.c.proteinId] is not None else {},
        smiles=row[SAMPLE.c.SMILES],
        preferred_processing=row[PIPELINE.c.name] or DEFAULT_PROCESSING,
        space_group=row[CRYSTAL.c.spaceGroup] or "",
        unit_cell=_unit_cell(row),
        pin_info={name: row[SAMPLE.c[name]] for name in PIN},
        msp_sample_ids=wells,
        image_first=first,
        image_last=last,
        image_template=template,
        image_directory=info["imageDirectory"],
        image_pattern=None if template is None else rules.image_pattern(template),
        image="{}:{}:{}".format(*sweeps[dcid]) if dcid in sweeps else None,
        images=_other_sweeps(dcid, kind, info["imageDirectory"], siblings, sweeps),
        related_sweeps=tuple((other, start, end) for other, (_, start, end) in sweeps.items()),
        related_images=tuple((other, file) for other, (file, _, _) in sweeps.items()),
        **_places(row, info, guid),
    )


def _places(row: RowMapping, info: Mapping[str, Any], guid: str) -> dict[str, str | None]:
    """Return what follows from where the images are."""
    prefix, number, directory = info["imagePrefix"], info["dataCollectionNumber"], info["imageDirectory"]
    session_visit = None
    if row[PROPOSAL.c.proposalCode] is not None and row[SESSION.c.visit_number] is not None:
        session_visit = f"{row[PROPOSAL.c.proposalCode]}{row[PROPOSAL.c.proposalNumber]}-{row[SESSION.c.visit_number]}"
    if not directory:
        project, crystal = rules.xia2_names(session_visit, prefix, number)
        names = ("visit_directory", "working_directory", "results_directory", "final_directory")
        return {"visit": session_visit, "project": project, "crystal": crystal} | dict.fromkeys(names)
    visit, visit_directory = rules.find_visit(directory, session_visit)
    collection = rules.collection_name(prefix, number, info["fileTemplate"])
    working, results, final = rules.output_directories(directory, visit_directory, collection, guid)
    project, crystal = rules.xia2_names(visit, prefix, number)
    return {
        "visit": visit,
        "visit_directory": str(visit_directory),
        "working_directory": working,
        "results_directory": results,
        "final_directory": final,
        "project": project,
        "crystal": crystal,
    }


def _image_range(start: int | None, count: int | None) -> tuple[int | None, int | None]:
    return start, None if start is None or count is None else start + count - 1


def _sweep(sibling: Row[Any]) -> tuple[str, int, int] | None:
    """Return first file, first and last image; None if ISPyB doesn't say."""
    first, last = _image_range(sibling.startImageNumber, sibling.numberOfImages)
    if first is None or last is None or not sibling.imageDirectory or not sibling.fileTemplate:
        return None
    return rules.image_file(sibling.imageDirectory, sibling.fileTemplate, first), first, last


def _other_sweeps(
    dcid: int,
    kind: rules.DataCollectionClass,
    directory: str | None,
    siblings: Sequence[Row[Any]],
    sweeps: Mapping[int, tuple[str, int, int]],
) -> str | None:
    """Return the group's other rotations, which xia2 may process together with this one; None: no question of it."""
    if kind.grid:
        return None
    if kind.screen:
        return ""
    if not (kind.rotation or kind.serial_fixed or kind.serial_jet):
        return None
    if (directory or "").startswith("/dls/mx"):  # in-plate crystals: sweeps of a group are of different crystals
        return ""
    rotations = [s.dataCollectionId for s in siblings if s.overlap == 0 and (s.axisRange or 0) > 0]
    return ",".join("{}:{}:{}".format(*sweeps[other]) for other in rotations if other != dcid and other in sweeps)


def _unit_cell(row: RowMapping) -> tuple[float, float, float, float, float, float] | None:
    a, b, c, alpha, beta, gamma = (float(row[CRYSTAL.c[name]] or 0) for name in CELL)
    cell = (a, b, c, alpha, beta, gamma)
    return cell if all(cell) else None


def _plain(row: RowMapping, table: Table) -> dict[str, Any]:
    """Return a table's columns of a row as JSON values."""
    return {column.name: _json_value(row[column]) for column in table.columns}


def _json_value(value: Any) -> Any:
    match value:
        case Decimal():
            return float(value)
        case datetime() | date() | time():
            return value.isoformat()
        case bytes():
            return value.hex()
    return value
