"""What processing has written to ISPyB for a data collection, for people to look at."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from ispyb.sqlalchemy import Base
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, Row, or_, select

from blocks.identifiers import Dcid
from blocks.ispyb_connection import transaction
from tasks.ispyb_access.writing.grants.granted import granted_to
from tasks.ispyb_access.writing.grants.needs import Right

logger = logging.getLogger(__name__)

TABLES = Base.metadata.tables
COLLECTION = TABLES["DataCollection"]
QUALITY = TABLES["ImageQualityIndicators"]
CENTRING = TABLES["XrayCentring"]
RESULT = TABLES["XrayCentringResult"]
COLLECTION_FILE = TABLES["DataCollectionFileAttachment"]
GRID = TABLES["GridInfo"]
PROGRAM = TABLES["AutoProcProgram"]
PROGRAM_FILE = TABLES["AutoProcProgramAttachment"]
JOB = TABLES["ProcessingJob"]
INTEGRATION = TABLES["AutoProcIntegration"]


@dataclass(frozen=True)
class ImageQuality:
    """Per-image results as columns, in the order of the images; NaN where ISPyB has none.

    Parameters
    ----------
    image_number, spots_total, spots_no_ice, d_min_a, total_intensity
        (images,) each: number from 1; spots; spots without those of ice; resolution in Å, -1 where it is unknown;
        counts.
    """

    image_number: NDArray[np.int64]
    spots_total: NDArray[np.float64]
    spots_no_ice: NDArray[np.float64]
    d_min_a: NDArray[np.float64]
    total_intensity: NDArray[np.float64]


@dataclass(frozen=True)
class CentringRow:
    """A crystal that X-ray centring found, in grid boxes from the grid's corner; z for a 3-D scan only."""

    centring_id: int
    type: str | None
    status: str | None
    centre_x: float | None
    centre_y: float | None
    centre_z: float | None
    total_count: float | None
    voxels: int | None


@dataclass(frozen=True)
class AttachedFile:
    """A file that was attached to a program or to the data collection (then without a program)."""

    path: PurePosixPath
    type: str | None
    program_id: int | None = None


@dataclass(frozen=True)
class ProgramRow:
    """A program that processed the data collection. Status: 1 success, 0 failure, None while it waits or runs."""

    program_id: int
    name: str | None
    status: int | None
    message: str | None


@dataclass(frozen=True)
class WrittenRows:
    """All that processing has written for a data collection."""

    image_quality: ImageQuality
    centrings: tuple[CentringRow, ...]
    attachments: tuple[AttachedFile, ...]
    programs: tuple[ProgramRow, ...]


def read_written_rows(engine: Engine, dcid: Dcid, writing: Engine | None = None) -> WrittenRows:
    """Read what was written for a data collection; one that nothing was written for gives empty columns and lists.

    Parameters
    ----------
    writing
        The same ISPyB as the user that writes, for centrings if the one that reads may not read those; None: there is
        no other. Where nobody may they are left out.

    Raises
    ------
    DatabaseUnavailable
        ISPyB can't be reached.
    """
    with transaction(engine, read_only=True) as connection:
        programs = _programs(connection, dcid)
        with _reading_centrings(connection, writing) as other:
            centrings = () if other is None else _centrings(other, *_place(connection, dcid))
        return WrittenRows(
            image_quality=_image_quality(connection, dcid),
            centrings=centrings,
            attachments=_attachments(connection, dcid, programs),
            programs=programs,
        )


@contextmanager
def _reading_centrings(connection: Connection, writing: Engine | None) -> Iterator[Connection | None]:
    """Give a connection of who may read centrings; None if nobody may."""
    needed = {CENTRING.name: Right.SELECT, RESULT.name: Right.SELECT}
    if not granted_to(connection.engine).missing(needed):
        yield connection
    elif writing is not None and not granted_to(writing).missing(needed):
        with transaction(writing, read_only=True) as other:
            yield other
    else:
        logger.warning("nobody may read %s and %s: centrings are left out", CENTRING.name, RESULT.name)
        yield None


def _image_quality(connection: Connection, dcid: Dcid) -> ImageQuality:
    names = ("imageNumber", "spotTotal", "goodBraggCandidates", "method1Res", "totalIntegratedSignal")
    statement = select(*(QUALITY.c[name] for name in names)).where(QUALITY.c.dataCollectionId == dcid)
    rows = connection.execute(statement.order_by(QUALITY.c.imageNumber)).all()
    columns = np.array([tuple(row) for row in rows], dtype=float).reshape(-1, len(names)).T
    return ImageQuality(columns[0].astype(np.int64), *columns[1:])


def _place(connection: Connection, dcid: Dcid) -> tuple[int | None, Sequence[int]]:
    """Return a data collection's group and its own grids."""
    of_collection = select(COLLECTION.c.dataCollectionGroupId).where(COLLECTION.c.dataCollectionId == dcid)
    own_grids = select(GRID.c.gridInfoId).where(GRID.c.dataCollectionId == dcid)
    return connection.scalar(of_collection), connection.scalars(own_grids).all()


def _centrings(connection: Connection, group: int | None, own_grids: Sequence[int]) -> tuple[CentringRow, ...]:
    """Return the results for the collection's own grid, and those of its group that are of no single grid.

    Of several centrings of the same grids the latest counts: where rows may not be changed, another one is added.
    """
    statement = (
        select(
            CENTRING.c.xrayCentringId,
            CENTRING.c.xrayCentringType,
            RESULT.c.status,
            RESULT.c.centreOfMassX,
            RESULT.c.centreOfMassY,
            RESULT.c.centreOfMassZ,
            RESULT.c.totalCount,
            RESULT.c.numberOfVoxels,
        )
        .join(RESULT, RESULT.c.xrayCentringId == CENTRING.c.xrayCentringId)
        .where(CENTRING.c.dataCollectionGroupId == group)
        .where(or_(RESULT.c.gridInfoId.is_(None), RESULT.c.gridInfoId.in_(own_grids)))
        .order_by(RESULT.c.xrayCentringResultId)
        .add_columns(RESULT.c.gridInfoId)
    )
    rows = connection.execute(statement).all()
    latest = {(row.xrayCentringType, row.gridInfoId): row.xrayCentringId for row in sorted(rows, key=_centring_id)}
    return tuple(
        CentringRow(*row[:-1])
        for row in rows
        if row.xrayCentringId == latest[row.xrayCentringType, row.gridInfoId]
        or (row.gridInfoId is None and row.xrayCentringType == "2d")  # without a grid nothing tells them apart
    )


def _centring_id(row: Row[Any]) -> int:
    number: int = row.xrayCentringId
    return number


def _programs(connection: Connection, dcid: Dcid) -> tuple[ProgramRow, ...]:
    """Return the programs of the collection's processing jobs, and those that integrated it without a job."""
    of_jobs = select(JOB.c.processingJobId).where(JOB.c.dataCollectionId == dcid)
    of_integrations = select(INTEGRATION.c.autoProcProgramId).where(INTEGRATION.c.dataCollectionId == dcid)
    statement = select(
        PROGRAM.c.autoProcProgramId,
        PROGRAM.c.processingPrograms,
        PROGRAM.c.processingStatus,
        PROGRAM.c.processingMessage,
    ).where(or_(PROGRAM.c.processingJobId.in_(of_jobs), PROGRAM.c.autoProcProgramId.in_(of_integrations)))
    return tuple(ProgramRow(*row) for row in connection.execute(statement.order_by(PROGRAM.c.autoProcProgramId)))


def _attachments(connection: Connection, dcid: Dcid, programs: tuple[ProgramRow, ...]) -> tuple[AttachedFile, ...]:
    of_collection = connection.execute(
        select(COLLECTION_FILE.c.fileFullPath, COLLECTION_FILE.c.fileType)
        .where(COLLECTION_FILE.c.dataCollectionId == dcid)
        .order_by(COLLECTION_FILE.c.dataCollectionFileAttachmentId)
    )
    of_programs = connection.execute(
        select(
            PROGRAM_FILE.c.filePath,
            PROGRAM_FILE.c.fileName,
            PROGRAM_FILE.c.fileType,
            PROGRAM_FILE.c.autoProcProgramId,
        )
        .where(PROGRAM_FILE.c.autoProcProgramId.in_([program.program_id for program in programs]))
        .order_by(PROGRAM_FILE.c.autoProcProgramAttachmentId)
    )
    return (
        *(AttachedFile(PurePosixPath(path), kind) for path, kind in of_collection),
        *(
            AttachedFile(PurePosixPath(path or "", name or ""), kind, program)
            for path, name, kind, program in of_programs
        ),
    )
