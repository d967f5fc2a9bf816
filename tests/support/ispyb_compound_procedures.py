"""Stored procedures for tests that write several tables; see `ispyb_procedures`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain

from ispyb.sp.acquisition import Acquisition
from sqlalchemy.dialects import mysql

from tasks.ispyb_access.schema.tables import METADATA

NUMBER = "INT UNSIGNED"
TEXT = "VARCHAR(255)"
CELL = ("a", "b", "c", "alpha", "beta", "gamma")
INTEGRATION = (
    *("dataCollectionId", "autoProcProgramId", "startImageNumber", "endImageNumber", "refinedDetectorDistance"),
    *("refinedXBeam", "refinedYBeam", "rotationAxisX", "rotationAxisY", "rotationAxisZ", "beamVectorX", "beamVectorY"),
    *("beamVectorZ", *(f"cell_{part}" for part in CELL), "anomalous"),
)
STATISTICS = (
    *("scalingStatisticsType", "comments", "resolutionLimitLow", "resolutionLimitHigh", "rMerge"),
    *("rMeasWithinIPlusIMinus", "rMeasAllIPlusIMinus", "rPimWithinIPlusIMinus", "rPimAllIPlusIMinus"),
    *("fractionalPartialBias", "nTotalObservations", "nTotalUniqueObservations", "meanIOverSigI", "resIOverSigI2"),
    *("completeness", "multiplicity", "anomalous", "anomalousCompleteness", "anomalousMultiplicity", "ccHalf"),
    "ccAnomalous",
)
LATTICE = (
    *("screeningOutputId", "spaceGroup", "pointGroup", "bravaisLattice"),
    *(f"rawOrientationMatrix_{axis}_{part}" for axis in "abc" for part in "xyz"),
    *(f"unitCell_{part}" for part in CELL),
    "labelitIndexing",
)
# By the API's names as it iterates over them, without underscores
COLLECTION: Mapping[str, str] = {
    "parentid": "dataCollectionGroupId", "visitid": "SESSIONID", "starttime": "startTime", "imgdir": "imageDirectory",
    "imgsuffix": "imageSuffix", "binning": "binning", "voltage": "voltage",
    **{f"xtalsnapshot{number}": f"xtalSnapshotFullPath{number}" for number in range(1, 5)},
}  # fmt: skip
GROUP: Mapping[str, str] = {
    "parentid": "sessionId", "experimenttype": "experimentType", "starttime": "startTime", "comments": "comments"
}  # fmt: skip
STAGES = ("PreparePhasingData", "SubstructureDetermination", "Phasing", "ModelBuilding")
FILES = (("Input", "input_coord"), ("Input", "input_mtz"), ("Result", "output_coord"), ("Result", "output_mtz"))


def compound_procedures() -> dict[str, tuple[str, str]]:
    """Return the procedures' parameters and bodies by their names."""
    return {
        "insert_screening_v2": _screening(),
        "upsert_processing_integration": _integration(),
        "insert_processing_scaling_v2": _scaling(),
        "upsert_mrrun": _run(),
        "upsert_dc": _of_api("DataCollection", Acquisition.get_data_collection_params(), COLLECTION),
        "upsert_dc_group_v3": _of_api("DataCollectionGroup", Acquisition.get_data_collection_group_params(), GROUP),
        "insert_phasing_analysis_results": _phasing(),
    }


def type_of(table: str, column: str) -> str:
    """Return a column's type, for a parameter."""
    return METADATA.tables[table].c[column].type.compile(dialect=mysql.dialect())


def upsert_body(table: str, values: Mapping[str, str], key: str = "p_id") -> str:
    """Return what adds a row, or changes what is given of the row of a number."""
    (primary,) = METADATA.tables[table].primary_key.columns
    changed = ", ".join(f"`{column}` = IFNULL({value}, `{column}`)" for column, value in values.items())
    columns = ", ".join(f"`{column}`" for column in values)
    return (
        f"IF {key} IS NULL THEN INSERT INTO {table} ({columns}) VALUES ({', '.join(values.values())}); "
        f"SET {key} = LAST_INSERT_ID(); ELSE UPDATE {table} SET {changed} WHERE {primary.name} = {key}; END IF;"
    )


def _screening() -> tuple[str, str]:
    parameters = (
        f"INOUT p_id {NUMBER}, p_dcgid {NUMBER}, p_dcid {NUMBER}, p_version {TEXT}, p_short {TEXT}, p_comments {TEXT}, "
        f"p_program {NUMBER}"
    )
    values = {
        "dataCollectionGroupId": "IFNULL(p_dcgid, (SELECT dataCollectionGroupId FROM DataCollection "
        "WHERE dataCollectionId = p_dcid))",
        "dataCollectionId": "p_dcid",
        "programVersion": "p_version",
        "shortComments": "LEFT(p_short, 20)",
        "comments": "p_comments",
        "autoProcProgramId": "p_program",
    }
    return parameters, upsert_body("Screening", values)


def _integration() -> tuple[str, str]:
    typed = ", ".join(f"p_{column} {type_of('AutoProcIntegration', column)}" for column in INTEGRATION)
    body = upsert_body("AutoProcIntegration", {column: f"p_{column}" for column in INTEGRATION})
    link = (
        "IF p_scaling IS NOT NULL THEN DELETE FROM AutoProcScaling_has_Int WHERE autoProcIntegrationId = p_id; "
        "INSERT INTO AutoProcScaling_has_Int (autoProcScalingId, autoProcIntegrationId) VALUES (p_scaling, p_id); "
        "END IF;"
    )
    return f"INOUT p_id {NUMBER}, p_scaling {NUMBER}, {typed}", f"{body} {link}"


def _scaling() -> tuple[str, str]:
    shells = range(1, 4)
    typed = chain.from_iterable(
        (f"p{shell}_{column} {type_of('AutoProcScalingStatistics', column)}" for column in STATISTICS)
        for shell in shells
    )
    rows = " ".join(
        f"INSERT INTO AutoProcScalingStatistics (autoProcScalingId, {', '.join(STATISTICS)}) "
        f"VALUES (p_id, {', '.join(f'p{shell}_{column}' for column in STATISTICS)});"
        for shell in shells
    )
    body = "INSERT INTO AutoProcScaling (autoProcId) VALUES (p_parent); SET p_id = LAST_INSERT_ID();"
    return f"INOUT p_id {NUMBER}, p_parent {NUMBER}, {', '.join(typed)}", f"{body} {rows}"


def _run() -> tuple[str, str]:
    files = "p_input_coord p_output_coord p_input_mtz p_output_mtz p_run_dir p_log p_cmd"
    figures = "p_rValueStart p_rValueEnd p_rFreeValueStart p_rFreeValueEnd"
    parameters = ", ".join(
        [
            *(f"INOUT p_id {NUMBER}", f"p_scaling {NUMBER}", "p_success TINYINT", "p_message TEXT"),
            *("p_pipeline VARCHAR(50)", *(f"{name} {TEXT}" for name in files.split())),
            *(*(f"{name} DOUBLE" for name in figures.split()), "p_start DATETIME", "p_end DATETIME"),
        ]
    )
    program = {
        "processingStatus": "p_success", "processingMessage": "LEFT(p_message, 255)",
        "processingPrograms": "p_pipeline", "processingCommandLine": "p_cmd", "processingEndTime": "p_end",
    }  # fmt: skip
    run = {name.removeprefix("p_"): name for name in figures.split()}
    attached = "".join(
        f"IF p_{name} IS NOT NULL AND p_run_dir IS NOT NULL THEN INSERT INTO AutoProcProgramAttachment "
        f"(autoProcProgramId, fileType, filePath, fileName, importanceRank, recordTimeStamp) VALUES (v_program, "
        f"'{kind}', p_run_dir, REPLACE(p_{name}, CONCAT(p_run_dir, '/'), ''), {rank}, NOW()); END IF; "
        for kind, name, rank in (*((kind, name, "NULL") for kind, name in FILES), ("Log", "log", "0"))
    )
    return parameters, (
        f"DECLARE v_program {NUMBER} DEFAULT NULL; "
        "IF p_id IS NOT NULL THEN SELECT autoProcProgramId INTO v_program FROM MXMRRun WHERE mxMRRunId = p_id; "
        "ELSE INSERT INTO AutoProcProgram (processingStartTime, recordTimeStamp) "
        "VALUES (IFNULL(p_start, NOW()), NOW()); SET v_program = LAST_INSERT_ID(); END IF; "
        f"{upsert_body('AutoProcProgram', program, 'v_program')} "
        f"{upsert_body('MXMRRun', {'autoProcScalingId': 'p_scaling', **run, 'autoProcProgramId': 'v_program'})} "
        f"{attached}"
    )


def _of_api(table: str, template: Iterable[str], columns: Mapping[str, str]) -> tuple[str, str]:
    """Take all that the API gives, and write what commands say."""
    names = [name for name in template if name != "id"]
    typed = (f"p_{name} {type_of(table, columns[name]) if name in columns else TEXT}" for name in names)
    body = upsert_body(table, {column: f"p_{name}" for name, column in columns.items()})
    return f"INOUT p_id {NUMBER}, {', '.join(typed)}", body


def _phasing() -> tuple[str, str]:
    """Write a document; of each kind of stage the first counts."""

    def insert(table: str, *columns: str, **given: str) -> str:
        types = {column: type_of(table, column) for column in columns}
        paths = ", ".join(
            # JSON_TABLE has no enumerations
            f"`{column}` {TEXT if kind.startswith('ENUM') else kind} PATH '$.{column}'"
            for column, kind in types.items()
        )
        path = f"$.PhasingContainer.{table}" if table != "PhasingStatistics" else (
            "$.PhasingContainer.Phasing_has_ScalingContainer.PhasingStatistics"
        )  # fmt: skip
        return (
            f"INSERT INTO {table} ({', '.join([*columns, *given])}) SELECT {', '.join([*columns, *given.values()])} "
            f"FROM JSON_TABLE(p_document, '{path}[*]' COLUMNS ({paths})) AS found; "
        )

    ran = ("phasingCommandLine", "phasingPrograms", "phasingStatus", "phasingMessage", "phasingStartTime")
    figures = ("numberOfBins", "binNumber", "lowRes", "highRes", "metric", "statisticsValue", "nReflections")
    more: Mapping[str, tuple[str, ...]] = {
        "SubstructureDetermination": ("method",), "Phasing": ("method", "solventContent", "enantiomorph")
    }  # fmt: skip
    of_both = {"phasingAnalysisId": "p_id", "phasingProgramRunId": "v_run"}
    stages = "".join(
        insert(stage, "spaceGroupId", "lowRes", "highRes", *more.get(stage, ()), **of_both) for stage in STAGES
    )
    return f"INOUT p_id {NUMBER}, p_document MEDIUMTEXT, p_scaling {NUMBER}", (
        f"DECLARE v_run, v_link {NUMBER}; "
        f"{insert('PhasingAnalysis', 'recordTimeStamp')} SET p_id = LAST_INSERT_ID(); "
        "INSERT INTO Phasing_has_Scaling (phasingAnalysisId, autoProcScalingId, recordTimeStamp) "
        "VALUES (p_id, p_scaling, NOW()); SET v_link = LAST_INSERT_ID(); "
        f"{insert('PhasingStatistics', *figures, phasingHasScalingId1='v_link')}"
        "IF JSON_EXISTS(p_document, '$.PhasingContainer.PhasingProgramRun') THEN "
        f"{insert('PhasingProgramRun', *ran, 'phasingEndTime')} ELSE INSERT INTO PhasingProgramRun () VALUES (); "
        f"END IF; SET v_run = LAST_INSERT_ID(); {stages}"
        f"{insert('PhasingProgramAttachment', 'fileType', 'fileName', 'filePath', phasingProgramRunId='v_run')}"
    )
