"""Commands that read: programs of a job, files of a program, a proposal's title."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from ispyb.sqlalchemy import Base
from pydantic import AliasChoices, Field, model_validator
from sqlalchemy import Column, Connection, select

from blocks.errors import MessageRefused
from blocks.identifiers import LARGEST_ID
from tasks.ispyb_access.character_sets import can_hold
from tasks.ispyb_access.writing.commands.command import Command
from tasks.ispyb_access.writing.grants.looking import looking
from tasks.ispyb_access.writing.grants.needs import looks_up
from tasks.ispyb_access.writing.rows.command_parameters import CommandParameters
from tasks.ispyb_access.writing.rows.writing_rows import require_row

JOB = Base.metadata.tables["ProcessingJob"]
PROGRAM = Base.metadata.tables["AutoProcProgram"]
ATTACHMENT = Base.metadata.tables["AutoProcProgramAttachment"]
PROPOSAL = Base.metadata.tables["Proposal"]

MOST_ROWS = 1000  # the procedures' limit
VISIT = re.compile(r"([a-zA-Z]{2})(\d+)(?:-\d+)?", re.ASCII)

# The names that the procedures give to the columns. Dates aren't among them: they are no JSON.
PROGRAM_COLUMNS = {
    "id": PROGRAM.c.autoProcProgramId,
    "commandLine": PROGRAM.c.processingCommandLine,
    "programs": PROGRAM.c.processingPrograms,
    "status": PROGRAM.c.processingStatus,
    "message": PROGRAM.c.processingMessage,
    "environment": PROGRAM.c.processingEnvironment,
    "jobId": PROGRAM.c.processingJobId,
}
ATTACHMENT_COLUMNS = {
    "attachmentId": ATTACHMENT.c.autoProcProgramAttachmentId,
    "fileType": ATTACHMENT.c.fileType,
    "filePath": ATTACHMENT.c.filePath,
    "fileName": ATTACHMENT.c.fileName,
    "importanceRank": ATTACHMENT.c.importanceRank,
}


class JobPrograms(CommandParameters):
    """The job whose programs are wanted."""

    rpid: Annotated[int, Field(le=LARGEST_ID)]


class ProgramFiles(CommandParameters):
    """The program whose files are wanted."""

    program_id: Annotated[int, Field(le=LARGEST_ID)]


class ProposalName(CommandParameters):
    """A proposal, by one of its visits or by itself."""

    visit: str | None = Field(None, description="Such as mx12345-1")
    proposalcode: str | None = Field(None, validation_alias=AliasChoices("proposalcode", "proposal_code"))
    proposalnumber: str | None = Field(None, validation_alias=AliasChoices("proposalnumber", "proposal_number"))

    @model_validator(mode="after")
    def _is_named(self) -> "ProposalName":
        if self.visit is not None and not VISIT.fullmatch(self.visit):
            raise ValueError(f"expected a visit such as mx12345-1, seen {self.visit!r:.60}")
        if self.visit is None and (self.proposalcode is None or self.proposalnumber is None):
            raise ValueError("expected visit, or proposalcode and proposalnumber; seen neither")
        return self

    @property
    def code_and_number(self) -> tuple[str, str]:
        """The proposal's two parts; a visit says both."""
        match = VISIT.fullmatch(self.visit or "")
        return (match[1], match[2]) if match else (self.proposalcode or "", self.proposalnumber or "")


def retrieve_programs_for_job_id(connection: Connection, job: JobPrograms) -> list[dict[str, Any]]:
    """Return the programs of a job, oldest first.

    Raises
    ------
    MessageRefused
        There is no such job.
    """
    with looking(connection, JOB, PROGRAM) as reading:
        require_row(reading, JOB, job.rpid)
        return _read(reading, PROGRAM_COLUMNS, PROGRAM.c.processingJobId, job.rpid)


def retrieve_program_attachments_for_program_id(connection: Connection, program: ProgramFiles) -> list[dict[str, Any]]:
    """Return the files of a program, oldest first.

    Raises
    ------
    MessageRefused
        There is no such program.
    """
    with looking(connection, PROGRAM, ATTACHMENT) as reading:
        require_row(reading, PROGRAM, program.program_id)
        return _read(reading, ATTACHMENT_COLUMNS, ATTACHMENT.c.autoProcProgramId, program.program_id)


def retrieve_proposal_title(connection: Connection, name: ProposalName) -> str:
    """Return a proposal's title.

    Raises
    ------
    MessageRefused
        There is no such proposal, or it has no title.
    """
    code, number = name.code_and_number
    with looking(connection, PROPOSAL) as reading:
        title = _title(reading, code, number)
    if title is None:
        raise MessageRefused(f"ISPyB has no proposal {code}{number} with a title")
    return title


def _title(connection: Connection, code: str, number: str) -> str | None:
    columns = PROPOSAL.c
    if not (can_hold(connection, columns.proposalCode, code) and can_hold(connection, columns.proposalNumber, number)):
        return None
    codes = {code, code.lower(), code.upper()}  # compared without case on MariaDB, with it on SQLite
    title: str | None = connection.scalar(
        select(columns.title).where(columns.proposalCode.in_(codes), columns.proposalNumber == number).limit(1)
    )
    return title


def _read(
    connection: Connection, columns: Mapping[str, Column[Any]], owner: Column[Any], number: int
) -> list[dict[str, Any]]:
    named = [column.label(name) for name, column in columns.items()]
    rows = connection.execute(select(*named).where(owner == number).order_by(named[0]).limit(MOST_ROWS))
    return [dict(row) for row in rows.mappings()]


COMMANDS: Final[Mapping[str, Command]] = {
    "retrieve_program_attachments_for_program_id": Command(
        ProgramFiles,
        retrieve_program_attachments_for_program_id,
        is_repeatable=True,
        needs=looks_up(PROGRAM, ATTACHMENT),
    ),
    "retrieve_programs_for_job_id": Command(
        JobPrograms, retrieve_programs_for_job_id, is_repeatable=True, needs=looks_up(JOB, PROGRAM)
    ),
    "retrieve_proposal_title": Command(
        ProposalName, retrieve_proposal_title, is_repeatable=True, needs=looks_up(PROPOSAL)
    ),
}
