"""Programs, their files and messages, by procedures."""

from __future__ import annotations

import logging

from tasks.ispyb_access.writing.commands.attachments import (
    COLLECTION_FILE,
    PROGRAM_FILE,
    DataCollectionAttachment,
    ProgramAttachment,
    ProgramMessage,
)
from tasks.ispyb_access.writing.commands.programs import (
    PROGRAM,
    STATUS_CODES,
    RegisterProcessing,
    UpdateProcessingStatus,
    UpdateProgramName,
)
from tasks.ispyb_access.writing.procedures.calling import Connector, filled, rows
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


def add_program_attachment(ispyb: Connector, attachment: ProgramAttachment) -> int:
    """Attach a file to a program unless it has it already, and return the attachment's number."""
    processing, path = ispyb.mx_processing, attachment.existing_file()
    row = fit_row(PROGRAM_FILE, attachment.row() | {"fileName": path.name, "filePath": str(path.parent)})
    for file in rows(processing.retrieve_program_attachments_for_program_id, attachment.program_id):
        if all(file[name] == row[name] for name in ("fileName", "filePath", "fileType")):
            return int(file["attachmentId"])
    values = filled(processing.get_program_attachment_params(), row, parentid=attachment.program_id)
    number: int = processing.upsert_program_attachment(values)
    return number


def add_datacollection_attachment(ispyb: Connector, attachment: DataCollectionAttachment) -> int:
    """Attach a file to a data collection; no procedure tells whether it has it already."""
    acquisition, path = ispyb.mx_acquisition, attachment.existing_file()
    row = fit_row(COLLECTION_FILE, attachment.row() | {"fileFullPath": str(path)})
    values = filled(acquisition.get_data_collection_file_attachment_params(), row, parentid=attachment.dcid)
    number: int = acquisition.upsert_data_collection_file_attachment(values)
    return number


def add_program_message(ispyb: Connector, message: ProgramMessage) -> int:
    """Write a program's message; no procedure tells whether it's there already."""
    number: int = ispyb.mx_processing.upsert_program_message(
        program_id=message.program_id,
        severity=message.severity,
        message=message.message,
        description=message.description,
    )
    return number
