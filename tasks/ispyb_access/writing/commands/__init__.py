"""ISPyB's write commands, by the names that recipes call them."""

from tasks.ispyb_access.writing.commands.attachments import (
    DataCollectionAttachment,
    ProgramAttachment,
    ProgramMessage,
    add_datacollection_attachment,
    add_program_attachment,
    add_program_message,
)
from tasks.ispyb_access.writing.commands.base import Announcement, Command, CommandParameters
from tasks.ispyb_access.writing.commands.centring import XrayCentring, insert_xray_centring
from tasks.ispyb_access.writing.commands.data_collections import (
    DataCollection,
    DataCollectionGroup,
    DataCollectionSnapshots,
    insert_data_collection,
    insert_data_collection_group,
    upsert_data_collection_mx,
)
from tasks.ispyb_access.writing.commands.image_quality import (
    PerImageResult,
    store_per_image_analysis_results,
    store_per_image_results,
)
from tasks.ispyb_access.writing.commands.integration import (
    AutoProc,
    Integration,
    Scaling,
    insert_scaling,
    register_integration,
    upsert_integration,
    write_autoproc,
)
from tasks.ispyb_access.writing.commands.jobs import (
    CreateJob,
    UpdateJob,
    announce_job,
    create_ispyb_job,
    update_ispyb_job,
)
from tasks.ispyb_access.writing.commands.pdb_files import PdbFiles, insert_pdb_files
from tasks.ispyb_access.writing.commands.phasing import PhasingResults, insert_phasing_analysis_results
from tasks.ispyb_access.writing.commands.programs import (
    RegisterProcessing,
    UpdateProcessingStatus,
    UpdateProgramName,
    register_processing,
    update_processing_status,
    update_program_name,
)
from tasks.ispyb_access.writing.commands.references import FindReference, KeepReference, find_reference, keep_reference
from tasks.ispyb_access.writing.commands.retrievals import (
    JobPrograms,
    ProgramFiles,
    ProposalName,
    retrieve_program_attachments_for_program_id,
    retrieve_programs_for_job_id,
    retrieve_proposal_title,
)
from tasks.ispyb_access.writing.commands.screening import (
    Screening,
    ScreeningInput,
    ScreeningOutput,
    ScreeningOutputLattice,
    ScreeningStrategy,
    ScreeningStrategySubWedge,
    ScreeningStrategyWedge,
    insert_screening,
    insert_screening_input,
    insert_screening_output,
    insert_screening_output_lattice,
    insert_screening_strategy,
    insert_screening_strategy_sub_wedge,
    insert_screening_strategy_wedge,
)
from tasks.ispyb_access.writing.commands.structures import (
    DimpleFailure,
    MolecularReplacement,
    MolecularReplacementResult,
    RunBlob,
    insert_dimple_result,
    insert_metal_id_result,
    insert_mxmr_run,
    insert_mxmr_run_blob,
    store_dimple_failure,
)

COMMANDS: dict[str, Command] = {
    "add_datacollection_attachment": Command(DataCollectionAttachment, add_datacollection_attachment),
    "add_program_attachment": Command(ProgramAttachment, add_program_attachment),
    "add_program_message": Command(ProgramMessage, add_program_message),
    "create_ispyb_job": Command(CreateJob, create_ispyb_job, entry=lambda job: job.entry, announce=announce_job),
    "insert_data_collection": Command(DataCollection, insert_data_collection),
    "insert_data_collection_group": Command(DataCollectionGroup, insert_data_collection_group),
    "insert_dimple_result": Command(MolecularReplacementResult, insert_dimple_result),
    "insert_metal_id_result": Command(MolecularReplacementResult, insert_metal_id_result),
    "insert_mxmr_run": Command(MolecularReplacement, insert_mxmr_run),
    "insert_mxmr_run_blob": Command(RunBlob, insert_mxmr_run_blob),
    "insert_pdb_files": Command(PdbFiles, insert_pdb_files),
    "insert_phasing_analysis_results": Command(PhasingResults, insert_phasing_analysis_results),
    "insert_scaling": Command(Scaling, insert_scaling),
    "insert_screening": Command(Screening, insert_screening),
    "insert_screening_input": Command(ScreeningInput, insert_screening_input),
    "insert_screening_output": Command(ScreeningOutput, insert_screening_output),
    "insert_screening_output_lattice": Command(ScreeningOutputLattice, insert_screening_output_lattice),
    "insert_screening_strategy": Command(ScreeningStrategy, insert_screening_strategy),
    "insert_screening_strategy_sub_wedge": Command(ScreeningStrategySubWedge, insert_screening_strategy_sub_wedge),
    "insert_screening_strategy_wedge": Command(ScreeningStrategyWedge, insert_screening_strategy_wedge),
    "insert_xray_centring": Command(XrayCentring, insert_xray_centring),
    "register_integration": Command(Integration, register_integration),
    "register_processing": Command(RegisterProcessing, register_processing),
    "retrieve_program_attachments_for_program_id": Command(
        ProgramFiles, retrieve_program_attachments_for_program_id, is_repeatable=True
    ),
    "retrieve_programs_for_job_id": Command(JobPrograms, retrieve_programs_for_job_id, is_repeatable=True),
    "retrieve_proposal_title": Command(ProposalName, retrieve_proposal_title, is_repeatable=True),
    "store_dimple_failure": Command(DimpleFailure, store_dimple_failure),
    "store_per_image_analysis_results": Command(PerImageResult, store_per_image_analysis_results, is_repeatable=True),
    "update_ispyb_job": Command(UpdateJob, update_ispyb_job),
    "update_processing_status": Command(UpdateProcessingStatus, update_processing_status),
    "update_program_name": Command(UpdateProgramName, update_program_name),
    "upsert_data_collection_mx": Command(DataCollectionSnapshots, upsert_data_collection_mx),
    "upsert_integration": Command(Integration, upsert_integration),
    "write_autoproc": Command(AutoProc, write_autoproc),
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
