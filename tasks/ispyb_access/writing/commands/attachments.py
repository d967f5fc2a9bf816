"""Files and messages that belong to a program or to a data collection."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field, field_validator
from sqlalchemy import Connection, Table

from blocks.errors import MessageRefused
from tasks.ispyb_access.writing.commands.command import Command, Earlier
from tasks.ispyb_access.writing.grants.needs import inserts_once
from tasks.ispyb_access.writing.rows.command_parameters import Identity
from tasks.ispyb_access.writing.rows.row_parameters import In, RowParameters, table
from tasks.ispyb_access.writing.rows.writing_rows import Values, find_row, insert_once

logger = logging.getLogger(__name__)

PROGRAM_FILE = table("AutoProcProgramAttachment")
PROGRAM_MESSAGE = table("AutoProcProgramMessage")
COLLECTION_FILE = table("DataCollectionFileAttachment")


class FileParameters(RowParameters):
    """A file to be attached."""

    known_types: ClassVar[tuple[str, ...]]

    file_name: str
    file_path: str = Field(description="Its folder; the file must be there")
    file_type: str = Field("log", description="Unknown ones are `log`")

    @field_validator("file_type", mode="before")
    @classmethod
    def _is_known(cls, value: Any) -> Any:
        if not isinstance(value, str) or value.lower() in cls.known_types:
            return value
        logger.warning("an attachment's type %r is none of %s; log is taken", value, ", ".join(cls.known_types))
        return "log"

    def existing_file(self) -> Path:
        """Return the file's path.

        Raises
        ------
        MessageRefused
            It isn't there.
        """
        path = Path(self.file_path) / self.file_name
        try:
            is_there = path.is_file()
        except OSError as error:  # a name that is too long, a folder that is closed to us
            raise MessageRefused(f"can't attach {path!s:.200}: {error.strerror}") from error
        if not is_there:
            raise MessageRefused(f"can't attach {path}: no such file; write it before its message is sent")
        return path


class ProgramAttachment(FileParameters):
    """A file that a program made."""

    table: ClassVar[Table] = PROGRAM_FILE
    known_types = ("log", "result", "graph")

    program_id: Annotated[Identity, In("autoProcProgramId")]
    importance_rank: int | None = None


class DataCollectionAttachment(FileParameters):
    """A file that belongs to a data collection."""

    table: ClassVar[Table] = COLLECTION_FILE
    known_types = ("snapshot", "log", "xy", "recip", "pia")

    dcid: Annotated[Identity, In("dataCollectionId")]

    def identity(self) -> dict[str, Any]:
        """Return the row, which is all that tells it from others. Raises as `existing_file` does."""
        return self.row() | {"fileFullPath": str(self.existing_file())}


class ProgramMessage(RowParameters):
    """Something a program has to say."""

    table: ClassVar[Table] = PROGRAM_MESSAGE

    program_id: Annotated[Identity, In("autoProcProgramId")]
    severity: Literal["ERROR", "WARNING", "INFO"]
    message: str | None = None
    description: str | None = None

    @field_validator("severity", mode="before")
    @classmethod
    def _upper_case(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value


def add_program_attachment(connection: Connection, attachment: ProgramAttachment) -> int:
    """Attach a file to a program and return the attachment's number; the same file twice is one row."""
    path = attachment.existing_file()
    identity = attachment.row() | {"fileName": path.name, "filePath": str(path.parent)}
    more = {"importanceRank": identity.pop("importanceRank")}
    return insert_once(connection, PROGRAM_FILE, identity, more)


def add_datacollection_attachment(connection: Connection, attachment: DataCollectionAttachment) -> int:
    """Attach a file to a data collection and return the attachment's number; the same file twice is one row."""
    return insert_once(connection, COLLECTION_FILE, attachment.identity())


def add_program_message(connection: Connection, message: ProgramMessage) -> int:
    """Write a program's message and return its number; the same message twice is one row."""
    return insert_once(connection, PROGRAM_MESSAGE, message.row())


def _same_row(table: Table, identity: Callable[[Any], Values]) -> Earlier:
    """Return how to find the row that a command would write, by what makes it the same one."""
    return Earlier(
        lambda connection, parameters: find_row(connection, table, identity(parameters)), frozenset({table.name})
    )


COMMANDS: Final[Mapping[str, Command]] = {
    "add_datacollection_attachment": Command(
        DataCollectionAttachment,
        add_datacollection_attachment,
        needs=inserts_once(COLLECTION_FILE),
        earlier=_same_row(COLLECTION_FILE, DataCollectionAttachment.identity),
    ),
    "add_program_attachment": Command(ProgramAttachment, add_program_attachment, needs=inserts_once(PROGRAM_FILE)),
    "add_program_message": Command(
        ProgramMessage,
        add_program_message,
        needs=inserts_once(PROGRAM_MESSAGE),
        earlier=_same_row(PROGRAM_MESSAGE, ProgramMessage.row),
    ),
}
