"""Commands that read, by procedures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from blocks.errors import MessageRefused
from tasks.ispyb_access.writing.commands.retrievals import (
    ATTACHMENT_COLUMNS,
    MOST_ROWS,
    PROGRAM_COLUMNS,
    JobPrograms,
    ProgramFiles,
    ProposalName,
)
from tasks.ispyb_access.writing.procedures.calling import Connector, Procedure, rows
from tasks.ispyb_access.writing.procedures.jobs import require_job


def retrieve_programs_for_job_id(ispyb: Connector, job: JobPrograms) -> list[dict[str, Any]]:
    """Return the programs of a job, oldest first.

    Raises
    ------
    MessageRefused
        There is no such job.
    """
    found = rows(ispyb.mx_processing.retrieve_programs_for_job_id, job.rpid)
    if not found:
        require_job(ispyb, job.rpid)
    return [{name: row[name] for name in PROGRAM_COLUMNS} for row in found]


def retrieve_program_attachments_for_program_id(ispyb: Connector, program: ProgramFiles) -> list[dict[str, Any]]:
    """Return the files of a program, oldest first; none for a program that isn't there."""
    found = rows(ispyb.mx_processing.retrieve_program_attachments_for_program_id, program.program_id)
    files = [{name: row[name] for name in ATTACHMENT_COLUMNS} for row in found]
    return sorted(files, key=lambda file: int(file["attachmentId"]))[:MOST_ROWS]


def retrieve_proposal_title(ispyb: Connector, name: ProposalName) -> str:
    """Return a proposal's title.

    Raises
    ------
    MessageRefused
        There is no such proposal, or it has no title.
    """
    code, number = name.code_and_number
    found = rows(ispyb.core.retrieve_proposal_title, code, number)
    if not found or found[0]["title"] is None:
        raise MessageRefused(f"ISPyB has no proposal {code}{number} with a title")
    return str(found[0]["title"])


PROCEDURES: Final[Mapping[str, Procedure]] = {
    "retrieve_program_attachments_for_program_id": retrieve_program_attachments_for_program_id,
    "retrieve_programs_for_job_id": retrieve_programs_for_job_id,
    "retrieve_proposal_title": retrieve_proposal_title,
}

CALLS: Final[Mapping[str, tuple[str, ...]]] = {
    "retrieve_program_attachments_for_program_id": ("retrieve_processing_program_attachments_for_program_id_v2",),
    "retrieve_programs_for_job_id": (
        "retrieve_processing_programs_for_job_id_v2",
        "retrieve_processing_job_v2",
    ),
    "retrieve_proposal_title": ("retrieve_proposal_title",),
}
