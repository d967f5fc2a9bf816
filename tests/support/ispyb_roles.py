"""Database users with the rights of Diamond's published roles, and nothing else.

The facts are those of the grants that Diamond publishes for its ISPyB: for the role of programs that process data, as
it was for long (`OLD`) and with what was granted since (`NEW`), and for the role of programs that read.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy.engine import URL

from tests.support.dev_mariadb import DevMariaDB
from tests.support.ispyb_procedures import names


def words(text: str) -> frozenset[str]:
    """Return names that stand one after the other."""
    return frozenset(text.split())


EXECUTE = words(
    """
    retrieve_dc_main retrieve_dc_main_v2 retrieve_dc upsert_dc upsert_dc_group_v2 upsert_dc_group_v3
    retrieve_dc_group_v2 retrieve_proposal_title update_dc_position upsert_dc_file_attachment insert_screening
    insert_screening_input insert_screening_output insert_screening_output_v2 insert_screening_output_lattice
    insert_screening_strategy insert_screening_strategy_wedge insert_screening_strategy_sub_wedge
    upsert_processing_program upsert_processing_program_attachment upsert_processing_program_attachment_v2
    upsert_processing_program_message upsert_processing insert_processing_scaling upsert_processing_integration
    insert_quality_indicators upsert_mrrun upsert_mrrun_blob upsert_quality_indicators upsert_processing_job
    upsert_processing_job_parameter upsert_processing_job_image_sweep retrieve_processing_job_v2
    retrieve_processing_job_parameters_v2 retrieve_processing_job_image_sweeps_v2
    retrieve_processing_programs_for_job_id_v2 retrieve_processing_program_attachments_for_program_id_v2
    retrieve_grid_info_for_dcg retrieve_processing_program_attachments_for_dc_group_program_v2
    retrieve_grid_info_for_dcg_v2 retrieve_grid_info_for_dc upsert_xray_centring_result upsert_dcg_grid
    upsert_dc_grid insert_phasing_analysis_results
    """
)
"""Procedures that the role `ispyb_processing` may execute, of those for macromolecular crystallography."""

OLD: Mapping[str, str] = {"AdminVar": "SELECT", "ImageQualityIndicators": "INSERT"}
NEW: Mapping[str, str] = {
    "AdminVar": "SELECT",
    "ImageQualityIndicators": "SELECT, INSERT",
    "PDB": "SELECT, INSERT",
    "Protein_has_PDB": "SELECT, INSERT",
    **dict.fromkeys(
        ("AutoProcProgram", "AutoProcProgramAttachment", "MXMRRun", "MXMRRunBlob"), "SELECT, INSERT, UPDATE"
    ),
    "DataCollectionFileAttachment": "SELECT, INSERT",
    "XrayCentring": "SELECT, INSERT",
    "XrayCentringResult": "SELECT, INSERT",
}
WITH_UPDATE: Mapping[str, str] = {
    **NEW, "XrayCentring": "SELECT, INSERT, UPDATE", "XrayCentringResult": "SELECT, INSERT, UPDATE"
}  # fmt: skip
"""Whether these two may be updated isn't known."""

READ = words(
    """
    AutoProc AutoProcIntegration AutoProcProgram AutoProcProgramAttachment AutoProcProgramMessage AutoProcScaling
    AutoProcScalingStatistics AutoProcScaling_has_Int BLSample BLSampleGroup BLSampleGroup_has_BLSample BLSession
    Container Crystal DataCollection DataCollectionFileAttachment DataCollectionGroup Detector DiffractionPlan
    EnergyScan BLSample_has_EnergyScan GridInfo ImageQualityIndicators MXMRRun MXMRRunBlob ModelBuilding PDB Phasing
    PhasingAnalysis PhasingProgramAttachment PhasingProgramRun PhasingStatistics Phasing_has_Scaling
    PreparePhasingData ProcessingJob ProcessingJobImageSweep ProcessingJobParameter ProcessingPipeline Proposal
    Protein Protein_has_PDB Screening ScreeningInput ScreeningOutput ScreeningOutputLattice ScreeningStrategy
    ScreeningStrategySubWedge ScreeningStrategyWedge SubstructureDetermination XrayCentringResult SchemaStatus
    AdminVar
    """
)
"""Tables that the role `ispyb_ro_nopii` may read; Person, XrayCentring and Event aren't among them."""

PROCESSING, READING, BOTH = "ispyb_processing", "ispyb_ro_nopii", "plaza_both"


def make_users(server: DevMariaDB, database: URL, tables: Mapping[str, str]) -> dict[str, URL]:
    """Make three users with nothing but a role each: that which writes, that which reads, and one that is both.

    Parameters
    ----------
    tables
        The rights on tables of the role that writes.
    """
    name, host = database.database, "'127.0.0.1'"
    roles = [
        f"DROP ROLE IF EXISTS {BOTH}, {PROCESSING}, {READING}",
        f"CREATE ROLE {PROCESSING}",
        f"CREATE ROLE {READING}",
    ]
    granted = [f"GRANT {rights} ON {name}.{table} TO {PROCESSING}" for table, rights in tables.items()]
    granted += [f"GRANT EXECUTE ON PROCEDURE {name}.{one} TO {PROCESSING}" for one in sorted(EXECUTE & names())]
    granted += [f"GRANT SELECT ON {name}.{table} TO {READING}" for table in sorted(READ)]
    # MariaDB has one active role: who is to have both needs one that has them
    joined = [f"CREATE ROLE {BOTH}", f"GRANT {PROCESSING} TO {BOTH}", f"GRANT {READING} TO {BOTH}"]
    users = {"zocalo": PROCESSING, "reader": READING, "one_user": BOTH}
    made = [
        statement
        for user, role in users.items()
        for statement in (
            f"CREATE OR REPLACE USER {user}@{host} IDENTIFIED BY '{user}'",
            f"GRANT {role} TO {user}@{host}",
            f"SET DEFAULT ROLE {role} FOR {user}@{host}",
        )
    ]
    server.execute(*roles, *granted, *joined, *made)
    return {user: database.set(username=user, password=user) for user in users}
