"""Find data collections: by a path of theirs, or the latest of a beamline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import ColumnElement, Connection, Engine, Select, exists, func, or_, select
from sqlalchemy.engine import RowMapping

from blocks.errors import PlazaError, UnknownDataCollection
from blocks.identifiers import Dcid
from blocks.ispyb_connection import safe_url, transaction
from tasks.ispyb_access.character_sets import can_hold
from tasks.ispyb_access.reading.classification import classify
from tasks.ispyb_access.reading.image_files import LAST_HASHES, image_number, last_image
from tasks.ispyb_access.reading.rows import COLLECTION, GRID, GROUP, SESSION, cell, labelled

MASTER = "_master"  # of Eiger's files lys_1_master.h5, lys_1_000001.h5, …


class UnknownBeamline(PlazaError):
    """ISPyB has no session on a beamline of this name."""


class CollectionSummary(BaseModel):
    """A data collection in a line."""

    model_config = ConfigDict(frozen=True)

    dcid: Dcid
    start_time: str | None
    directory: str | None
    template: str | None
    first_image: int | None
    images: int | None
    experiment_type: str | None
    classes: tuple[str, ...]
    """The kinds of experiment that it is, as in `ispyb_dc_class`."""
    run_status: str | None

    @property
    def path(self) -> str | None:
        """Where its images are; None if ISPyB doesn't say."""
        if self.directory is None and self.template is None:
            return None
        return f"{(self.directory or '').rstrip('/')}/{self.template or ''}"


def find_by_path(engine: Engine, path: PurePosixPath) -> list[CollectionSummary]:
    """Return the data collections whose images are in a directory, or those that a file belongs to; the latest first.

    Parameters
    ----------
    engine
        ISPyB.
    path
        A directory as ISPyB has it, an image, or another file that is named as the images are. An absolute path.

    Raises
    ------
    UnknownDataCollection
        There are none.
    DatabaseUnavailable
        ISPyB can't be reached.
    """
    found = _in_directory(engine, path) or best_matches(path.name, _in_directory(engine, path.parent))
    if not found:
        raise UnknownDataCollection(
            f"ISPyB at {safe_url(engine)} has no data collection in {path}, nor one that the file belongs to: expected "
            "a DataCollection.imageDirectory, or an image in one"
        )
    return found


def latest_collections(engine: Engine, beamline: str, count: int) -> list[CollectionSummary]:
    """Return the latest data collections of a beamline, the latest first.

    Raises
    ------
    UnknownBeamline
        There has been no session on it.
    DatabaseUnavailable
        ISPyB can't be reached.
    """
    check_beamlines(engine, [beamline])
    with transaction(engine, read_only=True) as connection:
        sessions = select(SESSION.c.sessionId).where(SESSION.c.beamLineName == beamline)
        no_session = func.coalesce(COLLECTION.c.SESSIONID, 0) == 0
        # Two statements, each by an index of its own: an OR would use neither.
        found = [
            *_read(connection, COLLECTION.c.SESSIONID.in_(sessions), limit=count),
            *_read(connection, no_session, GROUP.c.sessionId.in_(sessions), limit=count),
        ]
    return _latest_first(found)[:count]


def check_beamlines(engine: Engine, beamlines: Iterable[str]) -> None:
    """Make sure that there have been sessions on beamlines.

    Raises
    ------
    UnknownBeamline
        There have been none on one of them.
    DatabaseUnavailable
        ISPyB can't be reached.
    """
    with transaction(engine, read_only=True) as connection:
        known = sorted(name for name in connection.scalars(select(SESSION.c.beamLineName).distinct()) if name)
    for beamline in beamlines:
        if beamline not in known:
            raise UnknownBeamline(
                f"ISPyB at {safe_url(engine)} has no session on {beamline!r}; "
                f"it knows {', '.join(known) or 'no beamline'}"
            )


def best_matches(name: str, candidates: Iterable[CollectionSummary]) -> list[CollectionSummary]:
    """Return the data collections that a file of this name belongs to, in their order.

    Those whose images include it, else those of whose names its own is a continuation (`lys_1_000001.h5` and
    `lys_1_master.h5`, `lys_1_1.jpeg` and `lys_1_####.cbf`): the longest such name.
    """
    candidates = list(candidates)
    images = [some for some in candidates if _has_image(some, name)]
    if images:
        return images
    lengths = [_length_of_match(some.template or "", name) for some in candidates]
    longest = max(lengths, default=0)
    return [some for some, length in zip(candidates, lengths, strict=True) if longest and length == longest]


def _has_image(summary: CollectionSummary, name: str) -> bool:
    template = summary.template
    if not template:
        return False
    if template == name:
        return True
    number, first = image_number(template, name), summary.first_image
    last = last_image(first, summary.images)
    return number is not None and (first is None or last is None or first <= number <= last)


def _length_of_match(template: str, name: str) -> int:
    """Return the length of a template's fixed part if the name goes on after it with something else than a letter."""
    hashes = LAST_HASHES.search(template)
    fixed = template[: hashes.start()] if hashes else PurePosixPath(template).stem
    stem = fixed.removesuffix(MASTER).rstrip("_")
    is_continued = bool(stem) and name.startswith(stem) and not name[len(stem) :][:1].isalnum()
    return len(stem) if is_continued else 0


def _in_directory(engine: Engine, path: PurePosixPath) -> list[CollectionSummary]:
    column, names = COLLECTION.c.imageDirectory, (str(path), f"{str(path).rstrip('/')}/")
    with transaction(engine, read_only=True) as connection:
        if not can_hold(connection, column, str(path)):
            return []
        alike = _read(connection, column.in_(names))
    return [some for some in alike if some.directory in names]  # to a server's collations /lys/x1 is /lys/X1 too


def _read(
    connection: Connection, *conditions: ColumnElement[bool], limit: int | None = None
) -> list[CollectionSummary]:
    statement = _summaries().where(*conditions).order_by(COLLECTION.c.dataCollectionId.desc()).limit(limit)
    return [_summary(row) for row in connection.execute(statement).mappings()]


def _summaries() -> Select[Any]:
    columns = (
        "dataCollectionId",
        "startTime",
        "imageDirectory",
        "fileTemplate",
        "startImageNumber",
        "numberOfImages",
        "overlap",
        "axisRange",
        "runStatus",
    )
    has_grid = or_(
        exists().where(GRID.c.dataCollectionId == COLLECTION.c.dataCollectionId),
        exists().where(GRID.c.dataCollectionGroupId == COLLECTION.c.dataCollectionGroupId),
    )
    return (
        select(*labelled(COLLECTION, columns), *labelled(GROUP, ["experimentType"]), has_grid.label("has_grid"))
        .select_from(COLLECTION)
        .outerjoin(GROUP, GROUP.c.dataCollectionGroupId == COLLECTION.c.dataCollectionGroupId)
    )


def _summary(row: RowMapping) -> CollectionSummary:
    kind = classify(
        has_grid=bool(row["has_grid"]),
        experiment_type=cell(row, GROUP, "experimentType"),
        number_of_images=cell(row, COLLECTION, "numberOfImages"),
        overlap=cell(row, COLLECTION, "overlap"),
        axis_range=cell(row, COLLECTION, "axisRange"),
    )
    return CollectionSummary(
        dcid=cell(row, COLLECTION, "dataCollectionId"),
        start_time=cell(row, COLLECTION, "startTime"),
        directory=cell(row, COLLECTION, "imageDirectory"),
        template=cell(row, COLLECTION, "fileTemplate"),
        first_image=cell(row, COLLECTION, "startImageNumber"),
        images=cell(row, COLLECTION, "numberOfImages"),
        experiment_type=cell(row, GROUP, "experimentType"),
        classes=tuple(name for name, holds in kind.model_dump().items() if holds),
        run_status=cell(row, COLLECTION, "runStatus"),
    )


def _latest_first(found: Sequence[CollectionSummary]) -> list[CollectionSummary]:
    return sorted(found, key=lambda some: some.dcid, reverse=True)
