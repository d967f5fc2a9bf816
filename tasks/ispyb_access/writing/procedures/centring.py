"""What the writer of X-ray centring has to know beforehand, by procedures: none of them writes today's table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from tasks.ispyb_access.writing.commands.centring import XrayCentring, require_group
from tasks.ispyb_access.writing.procedures.calling import Connector, rows
from tasks.ispyb_access.writing.procedures.routines import SometimesCalled

OF_COLLECTION: Final = "retrieve_dc"
OF_GRID: Final = "retrieve_grid_info_for_dc"  # not the API's own, retrieve_grid_info_for_dc_v2: there is none yet


def look_up_place(ispyb: Connector, centring: XrayCentring) -> XrayCentring:
    """Return a centring with its group, and its grid if it has one.

    Raises
    ------
    MessageRefused
        Neither group nor known data collection is given.
    """
    found: dict[str, Any] = {}
    if centring.dcgid is None:
        collections = rows(ispyb.mx_acquisition.retrieve_data_collection, centring.dcid)
        found["dcgid"] = require_group(collections[0]["groupId"] if collections else None, centring)
    if centring.has_one_grid and centring.grid_info_id is None:
        grids = rows(ispyb.call_sp_retrieve, OF_GRID, (centring.dcid, None))
        found["grid_info_id"] = grids[0]["gridInfoId"] if grids else None
    return centring.model_copy(update={name: value for name, value in found.items() if value is not None})


LOOK_UPS: Final[Mapping[str, Callable[[Connector, Any], Any]]] = {
    "insert_xray_centring": look_up_place,
}

CALLS: Final[Mapping[str, tuple[str, ...]]] = {
    "insert_xray_centring": (),
}

SOMETIMES: Final[Mapping[str, tuple[SometimesCalled, ...]]] = {
    "insert_xray_centring": (
        SometimesCalled("no dcid-group", lambda one: one.dcgid is None, (OF_COLLECTION,)),
        SometimesCalled("no grid_info_id", lambda one: one.has_one_grid and one.grid_info_id is None, (OF_GRID,)),
    ),
}
