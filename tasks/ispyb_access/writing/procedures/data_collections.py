"""Data collections and their groups, by procedures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from blocks.errors import MessageRefused
from tasks.ispyb_access.writing.commands.data_collections import (
    DataCollection,
    DataCollectionGroup,
    DataCollectionSnapshots,
)
from tasks.ispyb_access.writing.procedures.calling import Connector, Procedure, filled, rows
from tasks.ispyb_access.writing.procedures.routines import SometimesCalled

BINNING = 1  # the column's default, which the procedure would write over with NULL


def insert_data_collection_group(ispyb: Connector, group: DataCollectionGroup) -> int:
    """Write a group and return its dataCollectionGroupId."""
    api = ispyb.mx_acquisition
    values = filled(api.get_data_collection_group_params(), dict(group), parentid=group.session_id)
    number: int = api.upsert_data_collection_group(values)
    return number


def insert_data_collection(ispyb: Connector, collection: DataCollection) -> int:
    """Write a data collection and return its dataCollectionId.

    Raises
    ------
    MessageRefused
        There is no such group.
    """
    session = _group(ispyb, collection.dcgid)["sessionId"] if collection.session_id is None else collection.session_id
    own = {"parentid": collection.dcgid, "visitid": session, "imgdir": collection.image_directory}
    return _insert(ispyb, dict(collection), **own, imgsuffix=collection.image_suffix)


def upsert_data_collection_mx(ispyb: Connector, collection: DataCollectionSnapshots) -> int:
    """Write the pictures of a data collection, or make one with them, and return its dataCollectionId.

    Raises
    ------
    MessageRefused
        There is no such data collection or group.
    """
    if collection.dcid is None:
        assert collection.dcgid is not None, "its model says so"
        session = _group(ispyb, collection.dcgid)["sessionId"]
        return _insert(ispyb, dict(collection), parentid=collection.dcgid, visitid=session)
    found = rows(ispyb.mx_acquisition.retrieve_data_collection, collection.dcid)
    if not found:
        raise MessageRefused(f"ISPyB has no DataCollection {collection.dcid}")
    group = found[0]["groupId"] if collection.dcgid is None else collection.dcgid  # no row may be without one
    return _upsert(ispyb, dict(collection), id=collection.dcid, parentid=group)


def _insert(ispyb: Connector, values: dict[str, Any], **more: Any) -> int:
    return _upsert(ispyb, values, binning=BINNING, **more)


def _upsert(ispyb: Connector, values: dict[str, Any], **more: Any) -> int:
    api = ispyb.mx_acquisition
    number: int = api.upsert_data_collection(filled(api.get_data_collection_params(), values, **more))
    return number


def _group(ispyb: Connector, dcgid: int) -> dict[str, Any]:
    found = rows(ispyb.mx_acquisition.retrieve_data_collection_group, dcgid)
    if not found:
        raise MessageRefused(f"ISPyB has no DataCollectionGroup {dcgid}")
    return found[0]


PROCEDURES: Final[Mapping[str, Procedure]] = {
    "insert_data_collection": insert_data_collection,
    "insert_data_collection_group": insert_data_collection_group,
    "upsert_data_collection_mx": upsert_data_collection_mx,
}

CALLS: Final[Mapping[str, tuple[str, ...]]] = {
    "insert_data_collection": ("upsert_dc",),
    "insert_data_collection_group": ("upsert_dc_group_v3",),
    "upsert_data_collection_mx": ("upsert_dc",),
}

SOMETIMES: Final[Mapping[str, tuple[SometimesCalled, ...]]] = {
    "insert_data_collection": (
        SometimesCalled("no session_id", lambda one: one.session_id is None, ("retrieve_dc_group_v2",)),
    ),
    "upsert_data_collection_mx": (
        SometimesCalled("a new one", lambda one: one.dcid is None, ("retrieve_dc_group_v2",)),
        SometimesCalled("dcid", lambda one: one.dcid is not None, ("retrieve_dc",)),
    ),
}
