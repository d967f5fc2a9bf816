"""ISPyB's write commands, by the names that recipes call them."""

from tasks.ispyb_access.commands.attachments import (
    DataCollectionAttachment,
    ProgramAttachment,
    ProgramMessage,
    add_datacollection_attachment,
    add_program_attachment,
    add_program_message,
)
from tasks.ispyb_access.commands.base import Announcement, Command, CommandParameters
from tasks.ispyb_access.commands.centring import XrayCentring, insert_xray_centring
from tasks.ispyb_access.commands.image_quality import (
    PerImageResult,
    store_per_image_analysis_results,
    store_per_image_results,
)
from tasks.ispyb_access.commands.jobs import CreateJob, UpdateJob, announce_job, create_ispyb_job, update_ispyb_job
from tasks.ispyb_access.commands.programs import (
    RegisterProcessing,
    UpdateProcessingStatus,
    register_processing,
    update_processing_status,
)
from tasks.ispyb_access.commands.references import FindReference, KeepReference, find_reference, keep_reference
from tasks.ispyb_access.commands.retrievals import (
    JobPrograms,
    ProgramFiles,
    ProposalName,
    retrieve_program_attachments_for_program_id,
    retrieve_programs_for_job_id,
    retrieve_proposal_title,
)

COMMANDS: dict[str, Command] = {
    "add_datacollection_attachment": Command(DataCollectionAttachment, add_datacollection_attachment),
    "add_program_attachment": Command(ProgramAttachment, add_program_attachment),
    "add_program_message": Command(ProgramMessage, add_program_message),
    "create_ispyb_job": Command(CreateJob, create_ispyb_job, entry=lambda job: job.entry, announce=announce_job),
    "insert_xray_centring": Command(XrayCentring, insert_xray_centring),
    "register_processing": Command(RegisterProcessing, register_processing),
    "retrieve_program_attachments_for_program_id": Command(
        ProgramFiles, retrieve_program_attachments_for_program_id, is_repeatable=True
    ),
    "retrieve_programs_for_job_id": Command(JobPrograms, retrieve_programs_for_job_id, is_repeatable=True),
    "retrieve_proposal_title": Command(ProposalName, retrieve_proposal_title, is_repeatable=True),
    "store_per_image_analysis_results": Command(PerImageResult, store_per_image_analysis_results, is_repeatable=True),
    "update_ispyb_job": Command(UpdateJob, update_ispyb_job),
    "update_processing_status": Command(UpdateProcessingStatus, update_processing_status),
}

BUFFER_COMMANDS: dict[str, Command] = {
    "find_reference": Command(FindReference, find_reference, is_repeatable=True),
    "keep_reference": Command(KeepReference, keep_reference, is_repeatable=True),
}
"""What the command `buffer` is made of; recipes don't name them."""

__all__ = [
    "BUFFER_COMMANDS",
    "COMMANDS",
    "Announcement",
    "Command",
    "CommandParameters",
    "PerImageResult",
    "store_per_image_results",
]
