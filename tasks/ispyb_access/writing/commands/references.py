"""Rows that a program has named beforehand: their ids are kept in `zc_ZocaloBuffer` under numbers of the sender's own.

Messages that come out of order find their parents by these. Only the command `buffer` uses them.
"""

from collections.abc import Mapping
from typing import Final

from ispyb.sqlalchemy import Base
from pydantic import Field
from sqlalchemy import ColumnElement, Connection, and_, insert, select, update

from tasks.ispyb_access.writing.commands.command import Command
from tasks.ispyb_access.writing.grants.needs import Needs, Right, changes, inserts, looks_up
from tasks.ispyb_access.writing.rows.command_parameters import CommandParameters
from tasks.ispyb_access.writing.rows.writing_rows import require_row

TABLE = Base.metadata.tables["zc_ZocaloBuffer"]
PROGRAM = Base.metadata.tables["AutoProcProgram"]
LARGEST = 2**32 - 1  # of the column, an unsigned INT


class FindReference(CommandParameters):
    """A row's name."""

    program_id: int
    uuid: int = Field(ge=0, le=LARGEST)


class KeepReference(FindReference):
    """A row's name and its id."""

    reference: int


def find_reference(connection: Connection, name: FindReference) -> int | None:
    """Return the id of the row that a program has named; None if it hasn't yet."""
    reference: int | None = connection.scalar(select(TABLE.c.Reference).where(_is(name)))
    return reference


def keep_reference(connection: Connection, named: KeepReference) -> int:
    """Write down the id of the row that a program has named, in place of an earlier one; return the id.

    Raises
    ------
    MessageRefused
        There is no such program.
    """
    require_row(connection, PROGRAM, named.program_id)
    is_there = connection.scalar(select(TABLE.c["UUID"]).where(_is(named))) is not None
    values = {"AutoProcProgramID": named.program_id, "UUID": named.uuid, "Reference": named.reference}
    if is_there:
        connection.execute(update(TABLE).where(_is(named)).values(values))
    else:
        connection.execute(insert(TABLE).values(values))
    return named.reference


def _is(name: FindReference) -> ColumnElement[bool]:
    columns = TABLE.c
    return and_(columns.AutoProcProgramID == name.program_id, columns["UUID"] == name.uuid)


COMMANDS: Final[Mapping[str, Command]] = {
    "find_reference": Command(
        FindReference, find_reference, is_repeatable=True, needs=Needs({TABLE.name: Right.SELECT})
    ),
    "keep_reference": Command(
        KeepReference,
        keep_reference,
        is_repeatable=True,
        needs=inserts(TABLE) | changes(TABLE) | looks_up(PROGRAM),
    ),
}
