"""Files and messages that belong to a program or to a data collection."""

import logging
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator
from sqlalchemy import Connection

from blocks.errors import MessageRefused
from tasks.ispyb_access.commands.base import CommandParameters, Identity
from tasks.ispyb_access.commands.row_parameters import table
from tasks.ispyb_access.commands.rows import insert_once

logger = logging.getLogger(__name__)

PROGRAM_FILE = table("AutoProcProgramAttachment")
PROGRAM_MESSAGE = table("AutoProcProgramMessage")
COLLECTION_FILE = table("DataCollectionFileAttachment")


class FileParameters(CommandParameters):
    """A file to be attached."""

    file_name: str
    file_path: str
    file_type: str | None = None

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
        except OSError as error:
            raise MessageRefused(f"can't attach {path}: {error.strerror}") from error
        if not is_there:
            raise MessageRefused(f"can't attach {path}: no such file; write it before its message is sent")
        return path

    def known_type(self, *known: str) -> str:
        """Return the file's type if it is known, else `log`."""
        if self.file_type and self.file_type.lower() in known:
            return self.file_type.lower()
        if self.file_type:
            logger.warning("attachment %s: type %r is none of %s; log is taken", self.file_name, self.file_type, known)
        return "log"


class ProgramAttachment(FileParameters):
    """A file that a program made."""

    program_id: Identity
    importance_rank: int | None = None


class DataCollectionAttachment(FileParameters):
    """A file that belongs to a data collection."""

    dcid: Identity


class ProgramMessage(CommandParameters):
    """Something a program has to say."""

    program_id: Identity
    severity: Literal["ERROR", "WARNING", "INFO"]
    message: str | None = Field(None, description="Cut at 200 characters")
    description: str | None = None

    @field_validator("severity", mode="before")
    @classmethod
    def _upper_case(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value


def add_program_attachment(connection: Connection, attachment: ProgramAttachment) -> int:
    """Attach a file to a program and return the attachment's number; the same file twice is one row."""
    path = attachment.existing_file()
    row = {
        "autoProcProgramId": attachment.program_id,
        "fileName": path.name,
        "filePath": str(path.parent),
        "fileType": attachment.known_type("log", "result", "graph"),
    }
    return insert_once(connection, PROGRAM_FILE, row, {"importanceRank": attachment.importance_rank})


def add_datacollection_attachment(connection: Connection, attachment: DataCollectionAttachment) -> int:
    """Attach a file to a data collection and return the attachment's number; the same file twice is one row."""
    row = {
        "dataCollectionId": attachment.dcid,
        "fileFullPath": str(attachment.existing_file()),
        "fileType": attachment.known_type("snapshot", "log", "xy", "recip", "pia"),
    }
    return insert_once(connection, COLLECTION_FILE, row)


def add_program_message(connection: Connection, message: ProgramMessage) -> int:
    """Write a program's message and return its number; the same message twice is one row."""
    row = {
        "autoProcProgramId": message.program_id,
        "severity": message.severity,
        "message": message.message,
        "description": message.description,
    }
    return insert_once(connection, PROGRAM_MESSAGE, row)
