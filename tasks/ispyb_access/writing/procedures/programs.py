"""Programs, by procedures."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

import mysql.connector

from blocks.errors import MessageRefused
from blocks.ispyb_faults import ACCESS_MYSQL_CODES
from tasks.ispyb_access.writing.commands.programs import (
    PROGRAM,
    RegisterProcessing,
    UpdateProcessingStatus,
    UpdateProgramName,
    tell_of_ignored,
)
from tasks.ispyb_access.writing.procedures.calling import Connector, Procedure
from tasks.ispyb_access.writing.rows.writing_rows import fit_row

logger = logging.getLogger(__name__)

STATE: Final = (
    "SELECT processingStatus, processingMessage, processingEndTime FROM AutoProcProgram WHERE autoProcProgramId = %s"
)


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
    """Write how a program stands; the procedure knows the rules.

    Raises
    ------
    MessageRefused
        There is no such program: the procedure would pass that over.
    """
    _tell_if_ignored(ispyb, update)
    number: int = ispyb.mx_processing.upsert_program_ex(
        program_id=update.program_id,
        status=update.status_code,
        message=update.message,
        time_start=update.start_time,
        time_update=update.update_time,
    )
    return number


def _tell_if_ignored(ispyb: Connector, update: UpdateProcessingStatus) -> None:
    """Look beforehand whether the procedure will do anything, since it doesn't say; as far as we may read programs."""
    try:
        state = ispyb.select_row(STATE, update.program_id)
    except mysql.connector.Error as error:
        if error.errno not in ACCESS_MYSQL_CODES:
            raise
        logger.debug("whether program %d has ended can't be looked up: %s", update.program_id, error)
        return
    if state is None:
        raise MessageRefused(f"ISPyB has no {PROGRAM.name} {update.program_id}")
    status, _, heard_of = state
    is_older = (
        update.status_code is None and None not in (heard_of, update.update_time) and heard_of > update.update_time
    )
    if status is not None or is_older:
        tell_of_ignored(update.program_id, update.news, *state)


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
