"""Data collections that have to do with one: of its group, sample, sample's groups, directory, visit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, Select, String, bindparam, func, literal, select, union_all
from sqlalchemy.engine import Row
from sqlalchemy.sql import FromClause

from blocks.identifiers import Dcid
from tasks.ispyb_access.reading.classification import is_rotation
from tasks.ispyb_access.reading.collection import CollectionRow
from tasks.ispyb_access.reading.image_files import SweepFiles, last_image, sweep_files
from tasks.ispyb_access.reading.parameters import RelatedCollections
from tasks.ispyb_access.reading.rows import COLLECTION, GROUP, GROUPED_SAMPLE, SAMPLE_GROUP
from tasks.ispyb_access.reading.visit.paths import parts_below

COLUMNS = (
    "dataCollectionId",
    "startImageNumber",
    "numberOfImages",
    "imageDirectory",
    "fileTemplate",
    "overlap",
    "axisRange",
)
_NO_SAMPLE = func.coalesce(COLLECTION.c.BLSAMPLEID, 0) == 0


class Relation(StrEnum):
    """Why a data collection is related to another one."""

    GROUP = "group"
    SAMPLE = "sample"
    SAMPLE_GROUP = "sample group"
    DIRECTORY = "directory"


@dataclass(frozen=True)
class RelatedRow:
    """A related data collection; the sample group is that of relation SAMPLE_GROUP."""

    relation: Relation
    sample_group_id: int | None
    sample_group: str | None
    dcid: Dcid
    directory: str | None
    sweep: SweepFiles | None
    is_rotation: bool


def read_related(connection: Connection, collection: CollectionRow) -> list[RelatedRow]:
    """Return all data collections of one's group, sample, sample groups and, without sample, directory.

    The given one is among them. In the order of their ids.
    """
    directory = None if collection.sample else collection.info["imageDirectory"]
    values = {"group": collection.group, "sample": collection.sample, "directory": directory}
    rows = [_related_row(row) for row in connection.execute(_RELATED, values)]
    return sorted(rows, key=lambda row: (row.dcid, row.relation, row.sample_group_id or 0))


def read_visit_directories(connection: Connection, collection: CollectionRow) -> Sequence[Row[Dcid, str | None]]:
    """Return the id and image directory of all data collections of one's session, in the order of their ids."""
    return connection.execute(_OF_SESSION, {"session": collection.session}).all()


def groups_of_samples(rows: Iterable[RelatedRow]) -> list[RelatedCollections]:
    """Return the data collections of each sample group."""
    names: dict[int, str | None] = {}
    dcids: dict[int, list[Dcid]] = {}
    for row in rows:
        if row.sample_group_id is not None and row.dcid not in dcids.setdefault(row.sample_group_id, []):
            dcids[row.sample_group_id].append(row.dcid)
            names[row.sample_group_id] = row.sample_group
    return [RelatedCollections(dcids=dcids[key], sample_group_id=key, name=names[key]) for key in sorted(dcids)]


def groups_of_directories(
    groups: Iterable[Sequence[str]], collections: Iterable[Row[Dcid, str | None]], visit_directory: str
) -> list[RelatedCollections]:
    """Return, for each group of directory names, the data collections whose path below the visit has one of them."""
    parts = {dcid: set(parts_below(visit_directory, directory or "")) for dcid, directory in collections}
    return [
        RelatedCollections(dcids=[dcid for dcid, names in parts.items() if not names.isdisjoint(group)])
        for group in groups
    ]


def _related_row(row: Row[*tuple[Any, ...]]) -> RelatedRow:
    relation, sample_group_id, sample_group, dcid, first, count, directory, template, overlap, axis_range = row
    return RelatedRow(
        relation=Relation(relation),
        sample_group_id=sample_group_id,
        sample_group=sample_group,
        dcid=dcid,
        directory=directory,
        sweep=sweep_files(directory, template, first, last_image(first, count)),
        is_rotation=bool(is_rotation(overlap, axis_range)),
    )


def _select(
    relation: Relation,
    tables: FromClause,
    *conditions: ColumnElement[bool],
    sample_group: tuple[ColumnElement[Any], ColumnElement[Any]] = (literal(None, Integer), literal(None, String)),
) -> Select[Any]:
    columns = (COLLECTION.c[name] for name in COLUMNS)
    statement = select(literal(relation.value), *sample_group, *columns).select_from(tables).where(*conditions)
    # In this order: MariaDB's choice is to read all of DataCollection while its statistics lag behind many new rows
    return statement.prefix_with("STRAIGHT_JOIN", dialect="mysql")


_SAMPLE = bindparam("sample", type_=Integer)
_IN_GROUP = GROUP.join(COLLECTION, COLLECTION.c.dataCollectionGroupId == GROUP.c.dataCollectionGroupId)
_THIS, _OTHER = GROUPED_SAMPLE.alias("this_sample"), GROUPED_SAMPLE.alias("other_sample")
_SAMPLES = _THIS.join(SAMPLE_GROUP, SAMPLE_GROUP.c.blSampleGroupId == _THIS.c.blSampleGroupId).join(
    _OTHER, _OTHER.c.blSampleGroupId == _THIS.c.blSampleGroupId
)
_NAMED = (SAMPLE_GROUP.c.blSampleGroupId, SAMPLE_GROUP.c.name)

# One round trip; each part uses an index of its own. A collection that names no sample has that of its group.
_RELATED = union_all(
    _select(Relation.GROUP, COLLECTION, COLLECTION.c.dataCollectionGroupId == bindparam("group", type_=Integer)),
    _select(Relation.SAMPLE, COLLECTION, COLLECTION.c.BLSAMPLEID == _SAMPLE),
    _select(Relation.SAMPLE, _IN_GROUP, GROUP.c.blSampleId == _SAMPLE, _NO_SAMPLE),
    _select(
        Relation.SAMPLE_GROUP,
        _SAMPLES.join(COLLECTION, _OTHER.c.blSampleId == COLLECTION.c.BLSAMPLEID),
        _THIS.c.blSampleId == _SAMPLE,
        sample_group=_NAMED,
    ),
    _select(
        Relation.SAMPLE_GROUP,
        _SAMPLES.join(GROUP, GROUP.c.blSampleId == _OTHER.c.blSampleId).join(
            COLLECTION, COLLECTION.c.dataCollectionGroupId == GROUP.c.dataCollectionGroupId
        ),
        _THIS.c.blSampleId == _SAMPLE,
        _NO_SAMPLE,
        sample_group=_NAMED,
    ),
    _select(Relation.DIRECTORY, COLLECTION, COLLECTION.c.imageDirectory == bindparam("directory", type_=String)),
)

_OF_SESSION = (
    select(COLLECTION.c.dataCollectionId, COLLECTION.c.imageDirectory)
    .where(bindparam("session") == COLLECTION.c.SESSIONID)
    .order_by(COLLECTION.c.dataCollectionId)
)
