"""ISPyB's write commands, by the names that recipes call them."""

from tasks.ispyb_access.commands.attachments import (
    DataCollectionAttachment,
    ProgramAttachment,
    ProgramMessage,
    add_datacollection_attachment,
    add_program_attachment,
    add_program_message,
)
from tasks.ispyb_access.commands.base import Command, CommandParameters
from tasks.ispyb_access.commands.centring import XrayCentring, insert_xray_centring
from tasks.ispyb_access.commands.image_quality import (
    PerImageResult,
    store_per_image_analysis_results,
    store_per_image_results,
)
from tasks.ispyb_access.commands.programs import (
    RegisterProcessing,
    UpdateProcessingStatus,
    register_processing,
    update_processing_status,
)

COMMANDS: dict[str, Command] = {
    "add_datacollection_attachment": Command(DataCollectionAttachment, add_datacollection_attachment),
    "add_program_attachment": Command(ProgramAttachment, add_program_attachment),
    "add_program_message": Command(ProgramMessage, add_program_message),
    "insert_xray_centring": Command(XrayCentring, insert_xray_centring),
    "register_processing": Command(RegisterProcessing, register_processing),
    "store_per_image_analysis_results": Command(PerImageResult, store_per_image_analysis_results, is_repeatable=True),
    "update_processing_status": Command(UpdateProcessingStatus, update_processing_status),
}

__all__ = ["COMMANDS", "Command", "CommandParameters", "PerImageResult", "store_per_image_results"]
