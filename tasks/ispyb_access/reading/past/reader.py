"""Read what Mimas decides by of many data collections: some four statements for a thousand of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from sqlalchemy import Connection, Engine

from blocks.identifiers import Dcid
from blocks.ispyb_connection import transaction
from tasks.ispyb_access.reading.past.facts import CollectionFacts, UnreadCollection, facts_of
from tasks.ispyb_access.reading.past.statements import (
    NarrowRow,
    Period,
    Sweep,
    read_group_sweeps,
    read_ids,
    read_page,
    read_with_grid,
)
from tasks.ispyb_access.reading.past.visit_crystals import NOTHING, VisitCrystals

# Data collections. With those of their groups, they are all that is held at a time. Of a list of 1000 or more MariaDB
# makes a table, and then reads all of GridInfo to join the two.
PAGE = 900

NO_TIME: Final = (
    "expected a time as its startTime in ISPyB, seen what is none, so nobody knows whether it's of this period; mend "
    "DataCollection.startTime"
)


@dataclass(frozen=True)
class Page:
    """Some data collections of a period, in the order of their ids, and which part of it has been read with them."""

    collections: Sequence[CollectionFacts | UnreadCollection]
    read: float


def read_period(engine: Engine, period: Period, *, size: int = PAGE) -> Iterator[Page]:
    """Read the data collections of a period, a page at a time; the visits' YAML files count as they are now.

    Each page is read in a transaction of its own, by the primary key: what is written meanwhile is in the way of
    nothing, nor is a reader that takes its time.

    Raises
    ------
    DatabaseUnavailable
        ISPyB can't be reached.
    """
    crystals = VisitCrystals()
    with transaction(engine, read_only=True) as connection:
        ids = read_ids(connection, period)
    if ids is None:
        return
    first, last = ids
    after = first - 1
    while after < last:
        with transaction(engine, read_only=True) as connection:
            rows = read_page(connection, period, after, last, size)
            details = _read_details(connection, rows)
        after = rows[-1].dcid if len(rows) == size else last
        yield Page(_assemble(rows, details, crystals), (after - first + 1) / (last - first + 1))


@dataclass(frozen=True)
class _Details:
    with_grid: set[Dcid]
    sweeps: dict[int, list[Sweep]]


def _read_details(connection: Connection, rows: Sequence[NarrowRow]) -> _Details:
    if not rows:
        return _Details(set(), {})
    return _Details(read_with_grid(connection, rows), read_group_sweeps(connection, rows))


def _assemble(
    rows: Sequence[NarrowRow], details: _Details, crystals: VisitCrystals
) -> list[CollectionFacts | UnreadCollection]:
    of_files = crystals.read(rows)
    found: list[CollectionFacts | UnreadCollection] = []
    for row in rows:
        if row.info["startTime"] is None:  # to SQLite, text is later than any time
            found.append(UnreadCollection(row.dcid, NO_TIME))
            continue
        group = [] if row.group is None else details.sweeps.get(row.group, [])
        join = partial(facts_of, row, group, of_files.get(row.dcid, NOTHING), has_grid=row.dcid in details.with_grid)
        try:
            found.append(join())
        except (ValueError, TypeError, ArithmeticError) as error:  # of values that no reader foresaw: of this one only
            found.append(UnreadCollection(row.dcid, f"{type(error).__name__}: {error}"))
    return found
