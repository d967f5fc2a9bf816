"""Which commands ISPyB's stored procedures can carry out, and what to do about the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tasks.ispyb_access.writing.procedures.calling import Connector
from tasks.ispyb_access.writing.procedures.data_collections import (
    insert_data_collection,
    insert_data_collection_group,
    upsert_data_collection_mx,
)
from tasks.ispyb_access.writing.procedures.image_quality import store_per_image_analysis_results
from tasks.ispyb_access.writing.procedures.integration import (
    insert_scaling,
    register_integration,
    upsert_integration,
    write_autoproc,
)
from tasks.ispyb_access.writing.procedures.jobs import create_ispyb_job, update_ispyb_job
from tasks.ispyb_access.writing.procedures.phasing import insert_phasing_analysis_results
from tasks.ispyb_access.writing.procedures.programs import (
    add_datacollection_attachment,
    add_program_attachment,
    add_program_message,
    register_processing,
    update_processing_status,
    update_program_name,
)
from tasks.ispyb_access.writing.procedures.retrievals import (
    retrieve_program_attachments_for_program_id,
    retrieve_programs_for_job_id,
    retrieve_proposal_title,
)
from tasks.ispyb_access.writing.procedures.screening import (
    insert_screening,
    insert_screening_input,
    insert_screening_output,
    insert_screening_output_lattice,
    insert_screening_strategy,
    insert_screening_strategy_sub_wedge,
    insert_screening_strategy_wedge,
)
from tasks.ispyb_access.writing.procedures.structures import insert_mxmr_run, insert_mxmr_run_blob, store_dimple_failure

Call = Callable[[Connector, Any], Any]

CALLS: Final[dict[str, Call]] = {
    call.__name__: call
    for call in (
        add_datacollection_attachment,
        add_program_attachment,
        add_program_message,
        create_ispyb_job,
        insert_data_collection,
        insert_data_collection_group,
        insert_mxmr_run,
        insert_mxmr_run_blob,
        insert_phasing_analysis_results,
        insert_scaling,
        insert_screening,
        insert_screening_input,
        insert_screening_output,
        insert_screening_output_lattice,
        insert_screening_strategy,
        insert_screening_strategy_sub_wedge,
        insert_screening_strategy_wedge,
        register_integration,
        register_processing,
        retrieve_program_attachments_for_program_id,
        retrieve_programs_for_job_id,
        retrieve_proposal_title,
        store_dimple_failure,
        store_per_image_analysis_results,
        update_ispyb_job,
        update_processing_status,
        update_program_name,
        upsert_data_collection_mx,
        upsert_integration,
        write_autoproc,
    )
}

NOT_COVERED: Final = {
    "find_reference": "nothing reads zc_ZocaloBuffer, so the command buffer can't be used",
    "insert_dimple_result": "insert_mxmr_run and insert_mxmr_run_blob write the run, its files and the blobs' views",
    "insert_metal_id_result": "nothing writes where blobs are",
    "insert_pdb_files": "nothing writes PDB files",
    "insert_xray_centring": "the one there is, upsert_xray_centring_result, writes columns that today's table lacks",
    "keep_reference": "nothing writes zc_ZocaloBuffer, so the command buffer can't be used",
}
"""Commands that no procedure of ispyb's API carries out, and what there is instead."""
