"""Results of X-ray centring."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import inf, isclose
from typing import Any, Final, Literal

from ispyb.sqlalchemy import Base
from pydantic import AliasChoices, Field, field_validator
from sqlalchemy import Connection, RowMapping, delete, select, update

from blocks.errors import MessageRefused
from tasks.ispyb_access.writing.commands.command import Command
from tasks.ispyb_access.writing.grants.granted import granted_to
from tasks.ispyb_access.writing.grants.looking import looking, may_look
from tasks.ispyb_access.writing.grants.needs import CHANGE, Needs, Right, Sometimes, asks, inserts, looks_up
from tasks.ispyb_access.writing.rows.command_parameters import CommandParameters, Identity, WholeFigure
from tasks.ispyb_access.writing.rows.writing_rows import insert_row, insert_rows, prepare_row, update_row

logger = logging.getLogger(__name__)

CENTRING = Base.metadata.tables["XrayCentring"]
RESULT = Base.metadata.tables["XrayCentringResult"]
COLLECTION = Base.metadata.tables["DataCollection"]
GRID = Base.metadata.tables["GridInfo"]

AXES = "XYZ"
SIX_DIGITS: Final = 1e-5
OF_CENTRING: Final = ("xrayCentringId", "dataCollectionGroupId", "status", "xrayCentringType")
OF_RESULT: Final = (
    *("xrayCentringResultId", "gridInfoId", "blSampleId", "status", "numberOfVoxels", "totalCount"),
    *(f"{name}{axis}" for name in ("centreOfMass", "maxVoxel", "boundingBoxMin", "boundingBoxMax") for axis in AXES),
)

Row = Mapping[str, Any]


class CentredCrystal(CommandParameters):
    """A crystal that was found, in grid boxes; two numbers a place in 2-D, three in 3-D."""

    centre_of_mass: tuple[float, ...] = Field((), max_length=3)
    max_voxel: tuple[WholeFigure, ...] = Field((), max_length=3)
    n_voxels: WholeFigure = None
    total_count: float | None = None
    bounding_box: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    status: str = "ok"
    sample_id: int | None = None

    def row(self) -> dict[str, Any]:
        """Return the columns of XrayCentringResult that the result tells of."""
        low, high = self.bounding_box or ((), ())
        return {
            **_by_axis("centreOfMass", self.centre_of_mass),
            **_by_axis("maxVoxel", self.max_voxel),
            **_by_axis("boundingBoxMin", low),
            **_by_axis("boundingBoxMax", high),
            "numberOfVoxels": self.n_voxels,
            "totalCount": self.total_count,
            "status": "success" if self.status in {"ok", "success"} else "failure",
            "blSampleId": self.sample_id or None,  # 0 stands for none in DataCollection, which it comes from
        }


class XrayCentring(CommandParameters):
    """What centring found for one grid (2-D) or for a group of grids (3-D)."""

    dcid: Identity | None = None
    dcgid: Identity | None = Field(None, validation_alias=AliasChoices("dcid-group", "dcgid", "dcg_id"))
    grid_info_id: Identity | None = Field(None, description="The grid of a 2-D result; that of the dcid if not given")
    type: Literal["2d", "3d"] = "2d"
    status: str = "success"
    results: tuple[CentredCrystal, ...] = ()

    @field_validator("type", mode="before")
    @classmethod
    def _lower_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @property
    def has_one_grid(self) -> bool:
        """It's of one grid, and which one can be known."""
        return self.type == "2d" and (self.dcid is not None or self.grid_info_id is not None)

    def row(self, group: int) -> dict[str, Any]:
        """Return the row of XrayCentring."""
        return {
            "dataCollectionGroupId": group,
            "status": self.status if self.status in {"success", "pending"} else "failed",
            "xrayCentringType": self.type,
        }


@dataclass(frozen=True)
class WrittenCentring:
    """A centring as it stands in ISPyB: its row, and those of its results by their numbers."""

    key: int
    row: Mapping[str, Any]
    results: Mapping[int, Mapping[str, Any]]

    @property
    def grids(self) -> set[int | None]:
        """The grids that its results name; in 3-D they name none."""
        return {result["gridInfoId"] for result in self.results.values()}


def insert_xray_centring(connection: Connection, centring: XrayCentring) -> int:
    """Write the centring of a grid or group, in place of an earlier one, and return its xrayCentringId.

    If all is as it was, nothing is changed. An earlier one that may be neither emptied nor changed stays, and what is
    written after it counts: readers take the latest.

    Raises
    ------
    MessageRefused
        Neither group nor known data collection is given.
    """
    group, grid = _group(connection, centring), _grid(connection, centring)
    row = prepare_row(connection, CENTRING, centring.row(group))
    # The number isn't known yet; whatever else is fitted as it will be
    results = [prepare_row(connection, RESULT, one.row() | {"gridInfoId": grid}) for one in centring.results]
    # Without a dcid nothing tells the grids of a group apart, so that one result might take another's place.
    is_told_apart = centring.type == "3d" or centring.has_one_grid
    earlier = _find_earlier(connection, centring.type, row, grid, is_empty=not results) if is_told_apart else None
    if earlier is None:
        return _add(connection, row, results)
    if _is_same(earlier.row, row) and _are_same(earlier.results.values(), results):
        return earlier.key
    return _replace(connection, earlier, row, results)


def _group(connection: Connection, centring: XrayCentring) -> int:
    if centring.dcgid is not None:
        return centring.dcgid
    statement = select(COLLECTION.c.dataCollectionGroupId).where(COLLECTION.c.dataCollectionId == centring.dcid)
    with looking(connection, COLLECTION) as reading:
        return require_group(reading.scalar(statement), centring)


def require_group(group: int | None, centring: XrayCentring) -> int:
    """Return the group of a centring's data collection.

    Raises
    ------
    MessageRefused
        It isn't known.
    """
    if group is None:
        raise MessageRefused(
            "insert_xray_centring expects the data collection group as dcid-group, or a known dcid; "
            f"seen dcid {centring.dcid}"
        )
    return group


def _grid(connection: Connection, centring: XrayCentring) -> int | None:
    """Return the grid that a 2-D result is of; a 3-D one is of several."""
    if not centring.has_one_grid:
        return None
    # Where nobody may look, a procedure has looked, and found what is given or nothing
    if centring.grid_info_id is not None or not may_look(connection, GRID):
        return centring.grid_info_id
    with looking(connection, GRID) as reading:
        grid: int | None = reading.scalar(select(GRID.c.gridInfoId).where(GRID.c.dataCollectionId == centring.dcid))
    return grid


def _find_earlier(
    connection: Connection, kind: str, row: Row, grid: int | None, *, is_empty: bool
) -> WrittenCentring | None:
    """Return the centring that was last written for the same grids: a message may come twice.

    One without results names no grid. Of a group's only grid it's known whose it is. Of several grids each that no
    result names may have one like it: once there are so many, this grid has its own.
    """
    group: int = row["dataCollectionGroupId"]
    written = _written(connection, group, kind)
    grids = None if grid is None or all(one.results for one in written) else _grids(connection, group)
    is_alone = grid is None or grids == {grid}
    named = {found for one in written for found in one.grids} - {grid}
    alike, enough = 0, inf if grids is None else len((grids | {grid}) - named)
    for one in written:
        if grid in one.grids or (not one.results and is_alone):
            return one
        alike += is_empty and not one.results and _is_same(one.row, row)
        if alike >= enough:
            return one
    return None


def _written(connection: Connection, group: int, kind: str) -> list[WrittenCentring]:
    """Return the centrings of a group, the latest first."""
    if not may_look(connection, CENTRING, RESULT):
        logger.warning(
            "nobody may read XrayCentring and XrayCentringResult: a centring that comes again is added again"
        )
        return []
    statement = (
        select(*(CENTRING.c[name] for name in OF_CENTRING), *(RESULT.c[name].label(f"of_{name}") for name in OF_RESULT))
        .outerjoin(RESULT, RESULT.c.xrayCentringId == CENTRING.c.xrayCentringId)
        .where(CENTRING.c.dataCollectionGroupId == group, CENTRING.c.xrayCentringType == kind)
        .order_by(CENTRING.c.xrayCentringId.desc(), RESULT.c.xrayCentringResultId)
    )
    with looking(connection, CENTRING, RESULT) as reading:
        rows = reading.execute(statement).mappings().all()
    return [_read(list(of_one)) for _, of_one in groupby(rows, key=lambda row: row["xrayCentringId"])]


def _read(rows: Sequence[RowMapping]) -> WrittenCentring:
    """Read a centring from its rows, one for each result, or one without a result."""
    state = {name: rows[0][name] for name in OF_CENTRING[1:]}
    results = {
        row["of_xrayCentringResultId"]: {name: row[f"of_{name}"] for name in OF_RESULT[1:]}
        for row in rows
        if row["of_xrayCentringResultId"] is not None
    }
    return WrittenCentring(rows[0]["xrayCentringId"], state, results)


def _grids(connection: Connection, group: int) -> set[int] | None:
    """Return the grids of a group; None if nobody may look."""
    if not may_look(connection, GRID, COLLECTION):
        return None
    of_group = select(COLLECTION.c.dataCollectionId).where(COLLECTION.c.dataCollectionGroupId == group)
    with looking(connection, GRID, COLLECTION) as reading:
        return set(reading.scalars(select(GRID.c.gridInfoId).where(GRID.c.dataCollectionId.in_(of_group))))


def _add(connection: Connection, row: Row, results: Sequence[Row]) -> int:
    key = insert_row(connection, CENTRING, row)
    insert_rows(connection, RESULT, [{**result, "xrayCentringId": key} for result in results])
    return key


def _replace(connection: Connection, earlier: WrittenCentring, row: Row, results: Sequence[Row]) -> int:
    """Write a centring in place of another as far as the grants allow, else beside it; return its number."""
    granted = granted_to(connection.engine)
    has_same_row = _is_same(earlier.row, row)
    may_empty = granted.may(Right.SELECT | Right.DELETE, RESULT.name)
    may_change = granted.may(CHANGE, RESULT.name) and len(earlier.results) <= len(results)
    if not (has_same_row or granted.may(CHANGE, CENTRING.name)) or not (may_empty or may_change):
        return _add(connection, row, results)
    if not has_same_row:
        update_row(connection, CENTRING, earlier.key, row)
    left = list(results)
    if may_empty:
        connection.execute(delete(RESULT).where(RESULT.c.xrayCentringId == earlier.key))
    else:
        for number, result in zip(earlier.results, results, strict=False):
            connection.execute(update(RESULT).where(RESULT.c.xrayCentringResultId == number).values(result))
        left = left[len(earlier.results) :]
    insert_rows(connection, RESULT, [{**result, "xrayCentringId": earlier.key} for result in left])
    return earlier.key


def _are_same(written: Collection[Row], wanted: Sequence[Row]) -> bool:
    return len(written) == len(wanted) and all(map(_is_same, written, wanted))


def _is_same(written: Row, wanted: Row) -> bool:
    """Tell whether a row is as it's wanted; FLOAT columns have six digits."""
    for name, value in wanted.items():
        there = written[name]
        if isinstance(value, float) and there is not None:
            if not isclose(there, value, rel_tol=SIX_DIGITS):
                return False
        elif there != value:
            return False
    return True


def _by_axis(name: str, values: tuple[float | None, ...]) -> dict[str, float | None]:
    padded = (*values, None, None, None)
    return {f"{name}{axis}": value for axis, value in zip(AXES, padded, strict=False)}


COMMANDS: Final[Mapping[str, Command]] = {
    "insert_xray_centring": Command(
        XrayCentring,
        insert_xray_centring,
        needs=inserts(CENTRING, RESULT)
        | asks(CENTRING, RESULT)
        | asks(COLLECTION, GRID)
        | Needs(if_granted={CENTRING.name: CHANGE, RESULT.name: CHANGE | Right.DELETE}),
        sometimes=(
            Sometimes("no dcid-group", lambda one: one.dcgid is None, looks_up(COLLECTION)),
            Sometimes("no grid_info_id", lambda one: one.has_one_grid and one.grid_info_id is None, looks_up(GRID)),
        ),
    ),
}
