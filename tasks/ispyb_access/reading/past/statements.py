"""What is read of many data collections at once: narrow rows, by keys, a page at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, select

from blocks.identifiers import Dcid
from tasks.ispyb_access.reading.collection import CELL, CollectionRow, joined_tables
from tasks.ispyb_access.reading.image_files import last_image, sweep_files
from tasks.ispyb_access.reading.rows import (
    COLLECTION,
    CRYSTAL,
    DETECTOR,
    GRID,
    GROUP,
    PIPELINE,
    PLAN,
    PROPOSAL,
    SESSION,
    cell,
    labelled,
    without_nul,
)

Sweep = tuple[Dcid, int, int]
"""A data collection, the first and the last of its images."""

COLUMNS = (
    *("dataCollectionId", "dataCollectionGroupId", "startTime", "runStatus"),
    *("startImageNumber", "numberOfImages", "overlap", "axisRange", "imageDirectory", "fileTemplate"),
)
_MEMBER_COLUMNS = (
    *("dataCollectionGroupId", "dataCollectionId", "startImageNumber", "numberOfImages"),
    *("imageDirectory", "fileTemplate"),
)

_PAGE = (
    select(
        *labelled(COLLECTION, COLUMNS),
        *labelled(PLAN, ["anomalousScatterer"]),
        *labelled(GROUP, ["experimentType"]),
        *labelled(SESSION, ["beamLineName", "visit_number"]),
        *labelled(PROPOSAL, ["proposalCode", "proposalNumber"]),
        *labelled(DETECTOR, ["detectorModel"]),
        *labelled(CRYSTAL, ["spaceGroup", *CELL]),
        *labelled(PIPELINE, ["name"]),
    )
    .select_from(joined_tables())
    .order_by(COLLECTION.c.dataCollectionId)
)


@dataclass(frozen=True)
class Period:
    """Which past data collections: those that started within some time.

    Parameters
    ----------
    since, until
        Local times of the beamlines, as they stand in ISPyB; the latter isn't included, None: till now.
    beamlines
        None: of any.
    """

    since: datetime
    until: datetime | None = None
    beamlines: tuple[str, ...] = ()

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return what a data collection of this time fulfils, whatever its beamline."""
        column = COLLECTION.c.startTime
        return [column >= self.since] if self.until is None else [column >= self.since, column < self.until]


class NarrowRow(CollectionRow):
    """A data collection's row with the columns only that a decision needs."""

    @cached_property
    def info(self) -> dict[str, Any]:
        """Those columns of the data collection itself, as JSON values."""
        return {name: cell(self.row, COLLECTION, name) for name in COLUMNS}


def read_ids(connection: Connection, period: Period) -> tuple[Dcid, Dcid] | None:
    """Return the lowest and the highest id of a period; None if there was no data collection."""
    column = COLLECTION.c.dataCollectionId
    lowest, highest = connection.execute(select(func.min(column), func.max(column)).where(*period.conditions())).one()
    return None if lowest is None else (Dcid(lowest), Dcid(highest))


def read_page(connection: Connection, period: Period, after: int, last: Dcid, size: int) -> list[NarrowRow]:
    """Return the next data collections of a period in the order of their ids, those from `after` on to `last`."""
    values: dict[str, Any] = {"after": after, "last": last, "size": size}
    statement = _page_of(period)
    return [NarrowRow(row) for row in connection.execute(statement, values).mappings()]


def _page_of(period: Period) -> Select[Any]:
    column = COLLECTION.c.dataCollectionId
    statement = _PAGE.where(column > bindparam("after"), column <= bindparam("last"), *period.conditions())
    if period.beamlines:
        statement = statement.where(SESSION.c.beamLineName.in_(period.beamlines))
    return statement.limit(bindparam("size"))


def read_with_grid(connection: Connection, rows: Iterable[CollectionRow]) -> set[Dcid]:
    """Return those data collections that have a grid, or whose group has one."""
    rows = list(rows)
    by_dcid, by_group = GRID.c.dataCollectionId, GRID.c.dataCollectionGroupId
    # Two statements, each by an index of its own
    dcids = set(connection.scalars(select(by_dcid).where(by_dcid.in_([row.dcid for row in rows]))))
    groups = set(connection.scalars(select(by_group).where(by_group.in_(_groups(rows)))))
    return {row.dcid for row in rows if row.dcid in dcids or row.group in groups}


def read_group_sweeps(connection: Connection, rows: Iterable[CollectionRow]) -> dict[int, list[Sweep]]:
    """Return the sweeps of each group in the order of their ids."""
    statement = (
        select(*(COLLECTION.c[name] for name in _MEMBER_COLUMNS))
        .where(COLLECTION.c.dataCollectionGroupId.in_(_groups(rows)))
        .order_by(COLLECTION.c.dataCollectionId)
    )
    sweeps: dict[int, list[Sweep]] = {}
    for group, dcid, first, count, directory, template in connection.execute(statement):
        last = last_image(first, count)
        if (sweep := sweep_files(without_nul(directory), without_nul(template), first, last)) is not None:
            sweeps.setdefault(group, []).append((Dcid(dcid), sweep.first, sweep.last))
    return sweeps


def _groups(rows: Iterable[CollectionRow]) -> list[int]:
    return sorted({row.group for row in rows if row.group is not None})
