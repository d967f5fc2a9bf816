"""The database's procedures as the package ispyb calls them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

PARAMETERS: Final[Mapping[str, int]] = {
    "insert_phasing_analysis_results": 3,
    "insert_processing_scaling_v2": 65,
    "insert_screening_input": 8,
    "insert_screening_output_lattice": 21,
    "insert_screening_output_v2": 26,
    "insert_screening_strategy": 13,
    "insert_screening_strategy_sub_wedge": 15,
    "insert_screening_strategy_wedge": 13,
    "insert_screening_v2": 7,
    "retrieve_dc": 2,
    "retrieve_dc_group_v2": 2,
    "retrieve_grid_info_for_dc": 2,
    "retrieve_processing_job_v2": 2,
    "retrieve_processing_program_attachments_for_program_id_v2": 2,
    "retrieve_processing_programs_for_job_id_v2": 2,
    "retrieve_proposal_title": 3,
    "upsert_dc": 78,
    "upsert_dc_file_attachment": 4,
    "upsert_dc_group_v3": 19,
    "upsert_mrrun": 18,
    "upsert_mrrun_blob": 5,
    "upsert_processing": 9,
    "upsert_processing_integration": 22,
    "upsert_processing_job": 6,
    "upsert_processing_job_image_sweep": 5,
    "upsert_processing_job_parameter": 4,
    "upsert_processing_program_attachment_v2": 6,
    "upsert_processing_program_message": 5,
    "upsert_processing_program_v2": 11,
    "upsert_quality_indicators": 17,
}
"""With how many parameters each is called: one of its name that has others is of another version."""


class SometimesCalled(NamedTuple):
    """Procedures that a command calls beside, for some of its parameters.

    Parameters
    ----------
    given
        The parameters, in words.
    applies
        Tells whether these are such parameters.
    routines
        The procedures, by their names in the database.
    """

    given: str
    applies: Callable[[Any], bool]
    routines: tuple[str, ...]
