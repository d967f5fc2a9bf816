"""Programs, by procedures."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from tasks.ispyb_access.writing.commands.programs import (
    PROGRAM,
    STATUS_CODES,
    RegisterProcessing,
    UpdateProcessingStatus,
    UpdateProgramName,
)
from tasks.ispyb_access.writing.procedures.calling import Connector, Procedure
from tasks.ispyb_access.writing.rows.writing_rows import fit_row

logger = logging.getLogger(__name__)


def register_processing(ispyb: Connector, program: RegisterProcessing) -> int:
    """Write a program and return its autoProcProgramId; no procedure writes its parent."""
    if program.first_scaling_id is not None:
        logger.warning(
            "%s is registered without its parent, the program of scaling %d: no procedure of ISPyB writes that",
            *(program.program, program.first_scaling_id),
        )
    row = fit_row(PROGRAM, program.row() | {"processingEnvironment": program.environment_text})
    number: int = ispyb.mx_processing.upsert_program_ex(
        job_id=program.rpid,
        pipeline_id=program.pipeline_id,
        name=row["processingPrograms"],
        command=row["processingCommandLine"],
        environment=row["processingEnvironment"],
    )
    return number


def update_processing_status(ispyb: Connector, update: UpdateProcessingStatus) -> int:
    """Write how a program stands; the procedure knows the rules. A program that isn't there is passed over."""
    number: int = ispyb.mx_processing.upsert_program_ex(
        program_id=update.program_id,
        status=STATUS_CODES.get((update.status or "").lower()),
        message=update.message,
        time_start=update.start_time,
        time_update=update.update_time,
    )
    return number


def update_program_name(ispyb: Connector, name: UpdateProgramName) -> int:
    """Change a program's name. The procedure takes that for a sign that it runs: it has started then."""
    number: int = ispyb.mx_processing.upsert_program_ex(program_id=name.program_id, name=name.program)
    return number


PROCEDURES: Final[Mapping[str, Procedure]] = {
    "register_processing": register_processing,
    "update_processing_status": update_processing_status,
    "update_program_name": update_program_name,
}

CALLS: Final[Mapping[str, tuple[str, ...]]] = {
    "register_processing": ("upsert_processing_program_v2",),
    "update_processing_status": ("upsert_processing_program_v2",),
    "update_program_name": ("upsert_processing_program_v2",),
}
