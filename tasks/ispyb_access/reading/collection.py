"""A data collection with all that ISPyB joins to it by keys: one SELECT; another for its grid, its events."""

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, literal, select, union_all
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import FromClause

from blocks.identifiers import Dcid
from blocks.ispyb_faults import TABLE_ACCESS_MYSQL_CODES, mysql_code
from tasks.ispyb_access.reading import image_files
from tasks.ispyb_access.reading.parameters import UnitCell
from tasks.ispyb_access.reading.rows import (
    COLLECTION,
    CONTAINER,
    CRYSTAL,
    DETECTOR,
    EVENT,
    EVENT_CHAIN,
    EVENT_TYPE,
    GRID,
    GROUP,
    PIPELINE,
    PLAN,
    PROPOSAL,
    PROTEIN,
    SAMPLE,
    SESSION,
    cell,
    label,
    labelled,
    plain,
)
from tasks.ispyb_access.reading.visit import paths as visit_paths

logger = logging.getLogger(__name__)

CELL = ("cell_a", "cell_b", "cell_c", "cell_alpha", "cell_beta", "cell_gamma")
PIN = ("containerId", "location", "subLocation", "loopType")

# The collection's own session and sample have no foreign key and 0 may stand for none: then the group's are used.
SESSION_ID = func.coalesce(func.nullif(COLLECTION.c.SESSIONID, 0), GROUP.c.sessionId)
SAMPLE_ID = func.coalesce(func.nullif(COLLECTION.c.BLSAMPLEID, 0), GROUP.c.blSampleId)


def joined_tables() -> FromClause:
    """Return the data collections with all that is joined to them by keys."""
    tables: FromClause = COLLECTION
    for table, condition in (
        (GROUP, GROUP.c.dataCollectionGroupId == COLLECTION.c.dataCollectionGroupId),
        (SESSION, SESSION.c.sessionId == SESSION_ID),
        (PROPOSAL, PROPOSAL.c.proposalId == SESSION.c.proposalId),
        (DETECTOR, DETECTOR.c.detectorId == COLLECTION.c.detectorId),
        (SAMPLE, SAMPLE.c.blSampleId == SAMPLE_ID),
        (CRYSTAL, CRYSTAL.c.crystalId == SAMPLE.c.crystalId),
        (PROTEIN, PROTEIN.c.proteinId == CRYSTAL.c.proteinId),
        (CONTAINER, CONTAINER.c.containerId == SAMPLE.c.containerId),
        (PIPELINE, PIPELINE.c.processingPipelineId == CONTAINER.c.priorityPipelineId),
        (PLAN, PLAN.c.diffractionPlanId == SAMPLE.c.diffractionPlanId),
    ):
        # Outer: a collection without sample, or of a session that isn't there, is read all the same.
        tables = tables.outerjoin(table, condition)
    return tables


def _joined() -> Select[Any]:
    columns = (
        *labelled(COLLECTION),
        *labelled(PLAN),
        *labelled(PROTEIN),
        *labelled(GROUP, ["experimentType"]),
        *labelled(SESSION, ["sessionId", "beamLineName", "visit_number"]),
        *labelled(PROPOSAL, ["proposalCode", "proposalNumber"]),
        *labelled(DETECTOR, ["detectorModel"]),
        *labelled(SAMPLE, ["blSampleId", "name", "SMILES", *PIN]),
        *labelled(CRYSTAL, ["spaceGroup", *CELL]),
        *labelled(PIPELINE, ["name"]),
    )
    return select(*columns).select_from(joined_tables()).where(COLLECTION.c.dataCollectionId == bindparam("dcid"))


_JOINED = _joined()

# Two indexed look-ups: OR would use neither index. Old rows know the group only.
_GRID = union_all(
    select(literal(0).label("rank"), *labelled(GRID)).where(GRID.c.dataCollectionId == bindparam("dcid")),
    select(literal(1).label("rank"), *labelled(GRID)).where(GRID.c.dataCollectionGroupId == bindparam("group")),
)

_EVENTS = (
    select(*labelled(EVENT_TYPE, ["name"]), *labelled(EVENT))
    .join(EVENT_CHAIN, EVENT_CHAIN.c.eventChainId == EVENT.c.eventChainId)
    .join(EVENT_TYPE, EVENT_TYPE.c.eventTypeId == EVENT.c.eventTypeId)
    .where(EVENT_CHAIN.c.dataCollectionId == bindparam("dcid"))
    .order_by(EVENT.c.eventId)
)


@dataclass(frozen=True)
class CollectionRow:
    """A data collection's row, with those of its session, detector, sample, crystal, protein, … beside it."""

    row: RowMapping

    @cached_property
    def info(self) -> dict[str, Any]:
        """All columns of the data collection itself, as JSON values."""
        return plain(self.row, COLLECTION)

    @property
    def dcid(self) -> Dcid:
        """Its id."""
        return Dcid(cell(self.row, COLLECTION, "dataCollectionId"))

    @property
    def group(self) -> int | None:
        """Id of its group."""
        group: int | None = self.info["dataCollectionGroupId"]
        return group

    @property
    def session(self) -> int | None:
        """Id of its session, or of its group's."""
        session: int | None = cell(self.row, SESSION, "sessionId")
        return session

    @property
    def sample(self) -> int | None:
        """Id of its sample, or of its group's; None if there's no such sample."""
        sample: int | None = cell(self.row, SAMPLE, "blSampleId")
        return sample

    @property
    def protein(self) -> int | None:
        """Id of the sample's protein."""
        protein: int | None = cell(self.row, PROTEIN, "proteinId")
        return protein

    @property
    def image_range(self) -> tuple[int | None, int | None]:
        """Numbers of the first and the last image."""
        first = self.info["startImageNumber"]
        return first, image_files.last_image(first, self.info["numberOfImages"])

    @property
    def sweep(self) -> image_files.SweepFiles | None:
        """Its images; None if ISPyB doesn't say where they are, or how many."""
        return image_files.sweep_files(self.info["imageDirectory"], self.info["fileTemplate"], *self.image_range)

    @property
    def space_group(self) -> str:
        """Of the sample's crystal; '' if nobody has said."""
        return cell(self.row, CRYSTAL, "spaceGroup") or ""

    @property
    def unit_cell(self) -> UnitCell | None:
        """Of the sample's crystal; None unless all six numbers are there."""
        a, b, c, alpha, beta, gamma = (float(cell(self.row, CRYSTAL, name) or 0) for name in CELL)
        found = (a, b, c, alpha, beta, gamma)
        return found if all(found) else None

    @cached_property
    def visit(self) -> tuple[str | None, PurePosixPath | None]:
        """Its visit, and the folder of that."""
        session_visit, row = None, self.row
        if cell(row, PROPOSAL, "proposalCode") is not None and cell(row, SESSION, "visit_number") is not None:
            proposal = f"{cell(row, PROPOSAL, 'proposalCode')}{cell(row, PROPOSAL, 'proposalNumber')}"
            session_visit = f"{proposal}-{cell(row, SESSION, 'visit_number')}"
        directory = self.info["imageDirectory"]
        return visit_paths.find_visit(directory, session_visit) if directory else (session_visit, None)

    @property
    def parts(self) -> tuple[str, ...]:
        """What the path of the images is made of below the visit's folder: folders, then the file template."""
        _, visit_directory = self.visit
        if visit_directory is None:
            return ()
        path = PurePosixPath(self.info["imageDirectory"], self.info["fileTemplate"] or "")
        return visit_paths.parts_below(visit_directory, str(path))


def read_collection(connection: Connection, dcid: Dcid) -> CollectionRow | None:
    """Return a data collection; None if there's none of this id."""
    row = connection.execute(_JOINED, {"dcid": dcid}).mappings().one_or_none()
    return None if row is None else CollectionRow(row)


def read_grid(connection: Connection, collection: CollectionRow) -> dict[str, Any]:
    """Return the grid of a data collection, else of its group; {} if there is none."""
    rows = connection.execute(_GRID, {"dcid": collection.dcid, "group": collection.group}).mappings().all()
    best = min(rows, key=lambda row: (row["rank"], row[label(GRID, "gridInfoId")]), default=None)
    return {} if best is None else plain(best, GRID)


def read_events(connection: Connection, collection: CollectionRow) -> list[dict[str, Any]]:
    """Return what happens in each exposure of a serial data collection, such as X-ray detection.

    Users for reading are often granted a list of tables that is older than these: then nothing is known of events.
    """
    try:
        rows = connection.execute(_EVENTS, {"dcid": collection.dcid}).mappings()
    except DBAPIError as error:
        if mysql_code(error) not in TABLE_ACCESS_MYSQL_CODES:
            raise
        logger.warning("data collection %d is read without its events: %s", collection.dcid, error.orig)
        return []
    return [{"eventType": cell(row, EVENT_TYPE, "name"), **plain(row, EVENT)} for row in rows]
