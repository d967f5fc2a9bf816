"""Files and messages that belong to a program or to a data collection, by procedures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tasks.ispyb_access.writing.commands.attachments import (
    COLLECTION_FILE,
    PROGRAM_FILE,
    DataCollectionAttachment,
    ProgramAttachment,
    ProgramMessage,
)
from tasks.ispyb_access.writing.procedures.calling import Connector, Procedure, filled, rows
from tasks.ispyb_access.writing.rows.writing_rows import fit_row


def add_program_attachment(ispyb: Connector, attachment: ProgramAttachment) -> int:
    """Attach a file to a program unless it has it already, and return the attachment's number."""
    processing, path = ispyb.mx_processing, attachment.existing_file()
    row = fit_row(PROGRAM_FILE, attachment.row() | {"fileName": path.name, "filePath": str(path.parent)})
    # Otherwise the procedure would attach it again: it has no key by content.
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


PROCEDURES: Final[Mapping[str, Procedure]] = {
    "add_datacollection_attachment": add_datacollection_attachment,
    "add_program_attachment": add_program_attachment,
    "add_program_message": add_program_message,
}

CALLS: Final[Mapping[str, tuple[str, ...]]] = {
    "add_datacollection_attachment": ("upsert_dc_file_attachment",),
    "add_program_attachment": (
        "retrieve_processing_program_attachments_for_program_id_v2",
        "upsert_processing_program_attachment_v2",
    ),
    "add_program_message": ("upsert_processing_program_message",),
}
