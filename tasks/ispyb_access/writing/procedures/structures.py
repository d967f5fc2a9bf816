"""Molecular replacement, by procedures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

from blocks.errors import MessageRefused
from tasks.ispyb_access.writing.commands.structures import DimpleFailure, MolecularReplacement, RunBlob
from tasks.ispyb_access.writing.procedures.calling import Connector, Procedure, filled

BLOB_PARAMETERS = {"id", "mxmr_run_id", "view1", "view2", "view3"}  # what the procedure takes


def insert_mxmr_run(ispyb: Connector, run: MolecularReplacement) -> int:
    """Write a run, its program and files, or change what is given of them; return its mxMRRunId.

    Files that come with a change are attached again: no procedure tells which there are.

    Raises
    ------
    MessageRefused
        Files are given, but not the folder that the procedure names them in.
    """
    processing = ispyb.mx_processing
    own = {"parentid": run.scaling_id, "run_dir": _folder(run)}
    number: int = processing.upsert_run(filled(processing.get_run_params(), dict(run), **own))
    return number


def store_dimple_failure(ispyb: Connector, failure: DimpleFailure) -> int:
    """Write that dimple failed, nobody knows why, and return the mxMRRunId."""
    return insert_mxmr_run(ispyb, failure.as_run())


def insert_mxmr_run_blob(ispyb: Connector, blob: RunBlob) -> int:
    """Write the views of a blob, or change what is given of them, and return its mxMRRunBlobId.

    Raises
    ------
    MessageRefused
        It says more than the procedure takes.
    """
    processing, given = ispyb.mx_processing, blob.model_dump(exclude_none=True)
    if more := sorted(given.keys() - BLOB_PARAMETERS):
        raise MessageRefused(
            f"ISPyB's procedures write a blob's views only, and would lose {', '.join(more)}: leave these out, or let "
            "Plaza write by SQL (PLAZA_ISPYB_WRITER=sql)"
        )
    values = filled(processing.get_run_blob_params(), given, parentid=blob.mxmr_run_id)
    number: int = processing.upsert_run_blob(values)
    return number


def _folder(run: MolecularReplacement) -> str | None:
    """Return the folder of a run's files: the procedure writes no file's name without one."""
    if run.run_dir is not None:
        return str(PurePosixPath(run.run_dir))  # as the SQL writer writes it
    folders = {file["filePath"] for file in run.files()}
    if len(folders) > 1 or None in folders:
        raise MessageRefused("expected run_dir, which ISPyB's procedure names the run's files in; seen none")
    return next(iter(folders), None)


PROCEDURES: Final[Mapping[str, Procedure]] = {
    "insert_mxmr_run": insert_mxmr_run,
    "insert_mxmr_run_blob": insert_mxmr_run_blob,
    "store_dimple_failure": store_dimple_failure,
}

CALLS: Final[Mapping[str, tuple[str, ...]]] = {
    "insert_mxmr_run": ("upsert_mrrun",),
    "insert_mxmr_run_blob": ("upsert_mrrun_blob",),
    "store_dimple_failure": ("upsert_mrrun",),
}

NOT_COVERED: Final[Mapping[str, str]] = {
    "insert_dimple_result": "insert_mxmr_run and insert_mxmr_run_blob write the run, its files and the blobs' views",
    "insert_metal_id_result": "nothing writes where blobs are",
}
