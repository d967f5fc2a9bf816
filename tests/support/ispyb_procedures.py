"""Stored procedures for tests: with the names and parameters by which the package ispyb calls Diamond's.

The public ones come under another licence and with a schema of their own, so they can't stand here. These are ours:
they do as little as our side needs of them, as their definer, so that a user who may only execute them can write. They
try what we call and in which order, and the grants. That the real ones do the same is for `test_procedure_writer.py` on
a database that has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy.dialects import mysql

from tasks.ispyb_access.schema.tables import METADATA
from tests.support.dev_mariadb import DevMariaDB
from tests.support.ispyb_compound_procedures import LATTICE, compound_procedures

SCREENING_OUTPUT = (
    *("screeningId", "statusDescription", "rejectedReflections", "resolutionObtained", "spotDeviationR"),
    *("spotDeviationTheta", "beamShiftX", "beamShiftY", "numSpotsFound", "numSpotsUsed", "numSpotsRejected"),
    *("mosaicity", "iOverSigma", "diffractionRings", "mosaicityEstimated", "rankingResolution", "program"),
    *("doseTotal", "totalExposureTime", "totalRotationRange", "totalNumberOfImages", "rFriedel"),
    *("indexingSuccess", "strategySuccess", "alignmentSuccess"),
)
CELL = ("a", "b", "c", "alpha", "beta", "gamma")

UPSERTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "upsert_processing_job": ("ProcessingJob", ("dataCollectionId", "displayName", "comments", "recipe", "automatic")),
    "upsert_processing_job_parameter": (
        "ProcessingJobParameter",
        ("processingJobId", "parameterKey", "parameterValue"),
    ),
    "upsert_processing_job_image_sweep": (
        "ProcessingJobImageSweep",
        ("processingJobId", "dataCollectionId", "startImage", "endImage"),
    ),
    "upsert_processing_program_message": (
        "AutoProcProgramMessage",
        ("autoProcProgramId", "severity", "message", "description"),
    ),
    "upsert_processing_program_attachment_v2": (
        "AutoProcProgramAttachment",
        ("autoProcProgramId", "fileName", "filePath", "fileType", "importanceRank"),
    ),
    "upsert_dc_file_attachment": ("DataCollectionFileAttachment", ("dataCollectionId", "fileFullPath", "fileType")),
    "upsert_processing": (
        "AutoProc",
        ("autoProcProgramId", "spaceGroup", *(f"refinedCell_{part}" for part in CELL)),
    ),
    "upsert_mrrun_blob": ("MXMRRunBlob", ("mxMRRunId", "view1", "view2", "view3")),
    "insert_screening_input": (
        "ScreeningInput",
        ("screeningId", "beamX", "beamY", "rmsErrorLimits", "minimumFractionIndexed", "maximumFractionRejected",
         "minimumSignalToNoise"),
    ),
    "insert_screening_output_v2": ("ScreeningOutput", SCREENING_OUTPUT),
    "insert_screening_output_lattice": ("ScreeningOutputLattice", LATTICE),
    "insert_screening_strategy": (
        "ScreeningStrategy",
        ("screeningOutputId", "phiStart", "phiEnd", "rotation", "exposureTime", "resolution", "completeness",
         "multiplicity", "anomalous", "program", "rankingResolution", "transmission"),
    ),
    "insert_screening_strategy_wedge": (
        "ScreeningStrategyWedge",
        ("screeningStrategyId", "wedgeNumber", "resolution", "completeness", "multiplicity", "doseTotal",
         "numberOfImages", "phi", "kappa", "chi", "comments", "wavelength"),
    ),
    "insert_screening_strategy_sub_wedge": (
        "ScreeningStrategySubWedge",
        ("screeningStrategyWedgeId", "subWedgeNumber", "rotationAxis", "axisStart", "axisEnd", "exposureTime",
         "transmission", "oscillationRange", "completeness", "multiplicity", "RESOLUTION", "doseTotal",
         "numberOfImages", "comments"),
    ),
}  # fmt: skip
"""What adds a row, or changes what is given of the row of a number: its table, and its parameters' columns in order."""

NUMBER = "INT UNSIGNED"
LOGIN = "IN p_login VARCHAR(45)"
RETRIEVALS: Mapping[str, tuple[str, str]] = {
    "retrieve_dc": (
        f"IN p_id {NUMBER}, {LOGIN}",
        "SELECT dataCollectionGroupId groupId, startImageNumber startImgNumber, numberOfImages noImages "
        "FROM DataCollection WHERE dataCollectionId = p_id",
    ),
    "retrieve_dc_group_v2": (
        f"IN p_id {NUMBER}, {LOGIN}",
        "SELECT sessionId FROM DataCollectionGroup WHERE dataCollectionGroupId = p_id",
    ),
    "retrieve_grid_info_for_dc": (
        f"IN p_id {NUMBER}, {LOGIN}",
        "SELECT gridInfoId, steps_x, steps_y FROM GridInfo WHERE dataCollectionId = p_id",
    ),
    "retrieve_processing_job_v2": (
        f"IN p_id {NUMBER}, {LOGIN}",
        "SELECT processingJobId id, displayName, comments, recipe FROM ProcessingJob WHERE processingJobId = p_id",
    ),
    "retrieve_processing_programs_for_job_id_v2": (
        f"IN p_id {NUMBER}, {LOGIN}",
        "SELECT autoProcProgramId id, processingCommandLine commandLine, processingPrograms programs, "
        "processingStatus status, processingMessage message, processingEnvironment environment, "
        "processingJobId jobId FROM AutoProcProgram WHERE processingJobId = p_id ORDER BY autoProcProgramId",
    ),
    "retrieve_processing_program_attachments_for_program_id_v2": (
        f"IN p_id {NUMBER}, {LOGIN}",
        "SELECT autoProcProgramAttachmentId attachmentId, fileType, filePath, fileName, importanceRank "
        "FROM AutoProcProgramAttachment WHERE autoProcProgramId = p_id ORDER BY autoProcProgramAttachmentId",
    ),
    "retrieve_proposal_title": (
        f"IN p_code VARCHAR(45), IN p_number INT, {LOGIN}",
        "SELECT title FROM Proposal WHERE proposalCode = p_code AND proposalNumber = p_number",
    ),
}

PER_IMAGE = (
    *("dataCollectionId", "autoProcProgramId", "imageNumber", "spotTotal", "inResTotal", "goodBraggCandidates"),
    *("iceRings", "method1Res", "method2Res", "maxUnitCell", "pctSaturationTop50Peaks", "inResolutionOvrlSpots"),
    *("binPopCutOffMethod2Res", "totalIntegratedSignal", "dozor_score", "driftFactor"),
)
LEFT_OUT = {  # as Diamond's leaves them
    *("inResTotal", "iceRings", "maxUnitCell", "pctSaturationTop50Peaks", "inResolutionOvrlSpots"),
    "binPopCutOffMethod2Res",
}
STAMPS: Mapping[str, str] = {
    **dict.fromkeys(("AutoProc", "AutoProcProgramMessage", "AutoProcProgramAttachment"), "recordTimeStamp"),
    "ProcessingJob": "recordTimestamp",
}


def make_procedures(server: DevMariaDB, database: str) -> None:
    """Make the procedures in a database, as the server's administrator."""
    made = [
        *(_upsert(name, table, columns) for name, (table, columns) in UPSERTS.items()),
        *(_procedure(name, parameters, f"{query};") for name, (parameters, query) in RETRIEVALS.items()),
        *(_procedure(name, *one) for name, one in compound_procedures().items()),
        _per_image(),
        _program(),
    ]
    server.execute("\n".join([f"USE {database};", "DELIMITER //", *(f"{one}\n//" for one in made), "DELIMITER ;"]))


def drop_procedures(server: DevMariaDB, database: str) -> None:
    """Remove the procedures from a database that other tests use too."""
    server.execute(f"USE {database}", *(f"DROP PROCEDURE IF EXISTS {name}" for name in sorted(names())))


def names() -> set[str]:
    """Return the names of all procedures."""
    return {*UPSERTS, *RETRIEVALS, *compound_procedures(), "upsert_quality_indicators", "upsert_processing_program_v2"}


def _procedure(name: str, parameters: str, body: str) -> str:
    return f"CREATE OR REPLACE PROCEDURE {name}({parameters}) SQL SECURITY DEFINER\nBEGIN\n{body}\nEND"


def _parameters(table: str, columns: Iterable[str]) -> str:
    types = {name: METADATA.tables[table].c[name].type.compile(dialect=mysql.dialect()) for name in columns}
    return ", ".join([f"INOUT p_id {NUMBER}", *(f"IN p_{name} {kind}" for name, kind in types.items())])


def _upsert(name: str, table: str, columns: tuple[str, ...]) -> str:
    (key,) = METADATA.tables[table].primary_key.columns
    stamp = STAMPS.get(table)
    inserted = {**{column: f"p_{column}" for column in columns}, **({stamp: "NOW()"} if stamp else {})}
    changed = ", ".join(f"`{column}` = IFNULL(p_{column}, `{column}`)" for column in columns)
    return _procedure(
        name,
        _parameters(table, columns),
        f"IF p_id IS NULL THEN INSERT INTO {table} ({', '.join(inserted)}) VALUES ({', '.join(inserted.values())}); "
        f"SET p_id = LAST_INSERT_ID(); ELSE UPDATE {table} SET {changed} WHERE {key.name} = p_id; END IF;",
    )


def _per_image() -> str:
    kept = [column for column in PER_IMAGE if column not in LEFT_OUT]
    changed = ", ".join(f"`{column}` = IFNULL(p_{column}, `{column}`)" for column in kept)
    return _procedure(
        "upsert_quality_indicators",
        _parameters("ImageQualityIndicators", PER_IMAGE),
        f"INSERT INTO ImageQualityIndicators ({', '.join(kept)}, recordTimeStamp) "
        f"VALUES ({', '.join(f'p_{column}' for column in kept)}, NOW()) ON DUPLICATE KEY UPDATE {changed};",
    )


def _program() -> str:
    columns = (
        *("processingCommandLine", "processingPrograms", "processingStatus", "processingMessage"),
        *("processingStartTime", "processingEndTime", "processingEnvironment", "processingJobId"),
        *("processingPipelineId", "recordTimeStamp"),
    )
    defined = ", ".join(columns)
    return _procedure(
        "upsert_processing_program_v2",
        _parameters("AutoProcProgram", columns),
        f"""IF p_id IS NULL THEN
            INSERT INTO AutoProcProgram ({defined})
            VALUES ({", ".join(f"p_{name}" for name in columns[:-1])}, IFNULL(p_recordTimeStamp, NOW()));
            SET p_id = LAST_INSERT_ID();
        ELSE
            UPDATE AutoProcProgram SET
                processingPrograms = IFNULL(p_processingPrograms, processingPrograms),
                processingMessage = IFNULL(LEFT(p_processingMessage, 80), processingMessage),
                processingStartTime = IFNULL(processingStartTime, IFNULL(p_processingStartTime, NOW())),
                processingEndTime = IFNULL(p_processingEndTime, NOW()),
                processingStatus = p_processingStatus
            WHERE autoProcProgramId = p_id AND processingStatus IS NULL AND (p_processingStatus IS NOT NULL
                OR p_processingEndTime IS NULL OR processingEndTime IS NULL
                OR processingEndTime <= p_processingEndTime);
        END IF;""",
    )
