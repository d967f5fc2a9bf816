"""Which beamlines data collections are from: one statement for many of them, by keys."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Engine, Integer, String, column, func, select, table

from blocks.identifiers import Dcid
from blocks.ispyb_connection import transaction

# Said here rather than taken from the models, whose import takes half a second: a flood waits for the answer
_COLLECTION = table(
    "DataCollection",
    column("dataCollectionId", Integer),
    column("dataCollectionGroupId", Integer),
    column("SESSIONID", Integer),
)
_GROUP = table("DataCollectionGroup", column("dataCollectionGroupId", Integer), column("sessionId", Integer))
_SESSION = table("BLSession", column("sessionId", Integer), column("beamLineName", String))

# As in `collection`: the collection's own session may be 0 for none
_SESSION_ID = func.coalesce(func.nullif(_COLLECTION.c.SESSIONID, 0), _GROUP.c.sessionId)
_BEAMLINES = (
    select(_COLLECTION.c.dataCollectionId, _SESSION.c.beamLineName)
    .select_from(_COLLECTION)
    .outerjoin(_GROUP, _GROUP.c.dataCollectionGroupId == _COLLECTION.c.dataCollectionGroupId)
    .join(_SESSION, _SESSION.c.sessionId == _SESSION_ID)
)


def read_beamlines(engine: Engine, dcids: Collection[Dcid]) -> dict[Dcid, str]:
    """Return the beamlines of those data collections that have one.

    Raises
    ------
    DatabaseUnavailable
        ISPyB can't be reached.
    """
    with transaction(engine, read_only=True) as connection:
        rows = connection.execute(_BEAMLINES.where(_COLLECTION.c.dataCollectionId.in_(dcids)))
        return {Dcid(dcid): beamline for dcid, beamline in rows if beamline}
