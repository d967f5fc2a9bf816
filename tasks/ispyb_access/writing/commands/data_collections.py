"""Data collections and their groups, for what is collected without the beamline's own control system."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final

from pydantic import AliasChoices, Field, model_validator
from sqlalchemy import Connection, Table, select

from blocks.errors import MessageRefused
from blocks.identifiers import Dcid
from tasks.ispyb_access.writing.commands.command import Command
from tasks.ispyb_access.writing.grants.looking import looking
from tasks.ispyb_access.writing.grants.needs import Sometimes, changes, inserts, looks_up
from tasks.ispyb_access.writing.rows.command_parameters import Identity, LocalTime
from tasks.ispyb_access.writing.rows.row_parameters import In, RowParameters, table
from tasks.ispyb_access.writing.rows.writing_rows import insert_row, require_row, update_row

GROUP = table("DataCollectionGroup")
COLLECTION = table("DataCollection")
SESSION = table("BLSession")


class DataCollectionGroup(RowParameters):
    """A group of data collections of one session."""

    table: ClassVar[Table] = GROUP

    session_id: Identity
    experiment_type: str | None = Field(None, description="One that ISPyB knows, such as SAD or EM")
    start_time: LocalTime = None
    comments: str | None = None


class DataCollection(RowParameters):
    """A data collection."""

    table: ClassVar[Table] = COLLECTION

    dcgid: Annotated[Identity, In("dataCollectionGroupId")] = Field(
        validation_alias=AliasChoices("dcgid", "dcid-group")
    )
    session_id: Identity | None = Field(None, description="Its group's if it isn't given")
    start_time: LocalTime = None
    image_directory: str | None = None
    image_suffix: str | None = None
    voltage: float | None = Field(None, description="kV")


class DataCollectionSnapshots(RowParameters):
    """Pictures of the crystal for a data collection."""

    table: ClassVar[Table] = COLLECTION

    dcid: Identity | None = Field(None, description="Changes this one; else a new one is made")
    dcgid: Annotated[Identity | None, In("dataCollectionGroupId")] = Field(
        None, validation_alias=AliasChoices("dcgid", "dcid-group")
    )
    xtal_snapshot1: Annotated[str | None, In("xtalSnapshotFullPath1")] = None
    xtal_snapshot2: Annotated[str | None, In("xtalSnapshotFullPath2")] = None
    xtal_snapshot3: Annotated[str | None, In("xtalSnapshotFullPath3")] = None
    xtal_snapshot4: Annotated[str | None, In("xtalSnapshotFullPath4")] = None

    @model_validator(mode="after")
    def _is_of_something(self) -> "DataCollectionSnapshots":
        if self.dcid is None and self.dcgid is None:
            raise ValueError("expected dcid, or dcgid for a new data collection; seen neither")
        return self


def insert_data_collection_group(connection: Connection, group: DataCollectionGroup) -> int:
    """Write a group and return its dataCollectionGroupId."""
    return insert_row(connection, GROUP, group.row())


def insert_data_collection(connection: Connection, collection: DataCollection) -> int:
    """Write a data collection and return its dataCollectionId.

    Raises
    ------
    MessageRefused
        There is no such group or session.
    """
    session = collection.session_id
    if session is None:
        session = _session_of(connection, collection.dcgid)
    with looking(connection, SESSION) as reading:
        require_row(reading, SESSION, session)  # the database doesn't check that
    return insert_row(connection, COLLECTION, collection.row() | {"SESSIONID": session})


def upsert_data_collection_mx(connection: Connection, collection: DataCollectionSnapshots) -> int:
    """Write the pictures of a data collection, or make one with them, and return its dataCollectionId.

    Raises
    ------
    MessageRefused
        There is no such data collection or group.
    """
    if collection.dcid is not None:
        return update_row(connection, COLLECTION, collection.dcid, collection.row())
    assert collection.dcgid is not None, "its model says so"
    session = _session_of(connection, collection.dcgid)
    return insert_row(connection, COLLECTION, collection.row() | {"SESSIONID": session})


def group_of(connection: Connection, dcid: Dcid) -> int:
    """Return the group of a data collection.

    Raises
    ------
    MessageRefused
        ISPyB doesn't know the data collection.
    """
    statement = select(COLLECTION.c.dataCollectionGroupId).where(COLLECTION.c.dataCollectionId == dcid)
    with looking(connection, COLLECTION) as reading:
        group: int | None = reading.scalar(statement)
    if group is None:
        raise MessageRefused(f"ISPyB has no {COLLECTION.name} {dcid}")
    return group


def _session_of(connection: Connection, dcgid: int) -> int:
    statement = select(GROUP.c.sessionId).where(GROUP.c.dataCollectionGroupId == dcgid)
    with looking(connection, GROUP) as reading:
        session: int | None = reading.scalar(statement)
    if session is None:
        raise MessageRefused(f"ISPyB has no {GROUP.name} {dcgid}")
    return session


COMMANDS: Final[Mapping[str, Command]] = {
    "insert_data_collection": Command(
        DataCollection,
        insert_data_collection,
        needs=inserts(COLLECTION) | looks_up(SESSION),
        sometimes=(Sometimes("no session_id", lambda one: one.session_id is None, looks_up(GROUP)),),
    ),
    "insert_data_collection_group": Command(DataCollectionGroup, insert_data_collection_group, needs=inserts(GROUP)),
    "upsert_data_collection_mx": Command(
        DataCollectionSnapshots,
        upsert_data_collection_mx,
        sometimes=(
            Sometimes("a new one", lambda one: one.dcid is None, inserts(COLLECTION) | looks_up(GROUP)),
            Sometimes("dcid", lambda one: one.dcid is not None, changes(COLLECTION)),
        ),
    ),
}
