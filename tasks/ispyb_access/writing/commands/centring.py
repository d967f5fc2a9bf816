"""Results of X-ray centring."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from ispyb.sqlalchemy import Base
from pydantic import AliasChoices, Field, field_validator
from sqlalchemy import Connection, delete, select

from blocks.errors import MessageRefused
from tasks.ispyb_access.writing.commands.command import Command
from tasks.ispyb_access.writing.rows.command_parameters import CommandParameters, Identity, WholeFigure
from tasks.ispyb_access.writing.rows.writing_rows import insert_row, insert_rows, update_row

CENTRING = Base.metadata.tables["XrayCentring"]
RESULT = Base.metadata.tables["XrayCentringResult"]
COLLECTION = Base.metadata.tables["DataCollection"]
GRID = Base.metadata.tables["GridInfo"]

AXES = "XYZ"


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
    type: Literal["2d", "3d"] = "2d"
    status: str = "success"
    results: tuple[CentredCrystal, ...] = ()

    @field_validator("type", mode="before")
    @classmethod
    def _lower_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value


def insert_xray_centring(connection: Connection, centring: XrayCentring) -> int:
    """Write the centring of a grid or group, in place of an earlier one, and return its xrayCentringId.

    Raises
    ------
    MessageRefused
        Neither group nor known data collection is given.
    """
    group, grid = _group(connection, centring), _grid(connection, centring)
    state = {
        "dataCollectionGroupId": group,
        "status": centring.status if centring.status in {"success", "pending"} else "failed",
        "xrayCentringType": centring.type,
    }
    # Without a dcid nothing tells the grids of a group apart, so that one result might take another's place.
    is_told_apart = centring.type == "3d" or centring.dcid is not None
    key = _earlier(connection, group, centring.type, grid) if is_told_apart else None
    if key is None:
        key = insert_row(connection, CENTRING, state)
    else:
        update_row(connection, CENTRING, key, state)
        connection.execute(delete(RESULT).where(RESULT.c.xrayCentringId == key))
    links = {"xrayCentringId": key, "gridInfoId": grid}
    insert_rows(connection, RESULT, [result.row() | links for result in centring.results])
    return key


def _group(connection: Connection, centring: XrayCentring) -> int:
    if centring.dcgid is not None:
        return centring.dcgid
    group: int | None = connection.scalar(
        select(COLLECTION.c.dataCollectionGroupId).where(COLLECTION.c.dataCollectionId == centring.dcid)
    )
    if group is None:
        raise MessageRefused(
            "insert_xray_centring expects the data collection group as dcid-group, or a known dcid; "
            f"seen dcid {centring.dcid}"
        )
    return group


def _grid(connection: Connection, centring: XrayCentring) -> int | None:
    """Return the grid that a 2-D result is of; a 3-D one is of several."""
    if centring.type == "3d" or centring.dcid is None:
        return None
    grid: int | None = connection.scalar(select(GRID.c.gridInfoId).where(GRID.c.dataCollectionId == centring.dcid))
    return grid


def _earlier(connection: Connection, group: int, kind: str, grid: int | None) -> int | None:
    """Return the centring that was written before for the same grids: a message may come twice."""
    key: int | None = connection.scalar(
        select(CENTRING.c.xrayCentringId)
        .outerjoin(RESULT, RESULT.c.xrayCentringId == CENTRING.c.xrayCentringId)
        .where(
            CENTRING.c.dataCollectionGroupId == group,
            CENTRING.c.xrayCentringType == kind,
            RESULT.c.gridInfoId.is_not_distinct_from(grid),
        )
        .order_by(CENTRING.c.xrayCentringId)
        .limit(1)
    )
    return key


def _by_axis(name: str, values: tuple[float | None, ...]) -> dict[str, float | None]:
    padded = (*values, None, None, None)
    return {f"{name}{axis}": value for axis, value in zip(AXES, padded, strict=False)}


COMMANDS: Final[Mapping[str, Command]] = {
    "insert_xray_centring": Command(XrayCentring, insert_xray_centring),
}
