"""Processing jobs, by procedures: each part of a job is written by a call of its own."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import mysql.connector
from ispyb import ISPyBException

from blocks.errors import MessageRefused, causes_of
from blocks.identifiers import Dcid
from blocks.ispyb_faults import ACCESS_MYSQL_CODES, MISSING_PROCEDURE_MYSQL_CODES
from tasks.ispyb_access.writing.commands.jobs import (
    AUTOMATIC,
    JOB,
    PARAMETER,
    SWEEP,
    CreateJob,
    JobSweep,
    KeyValue,
    UpdateJob,
    sweep_of,
)
from tasks.ispyb_access.writing.procedures.calling import Connector, Procedure, filled, rows
from tasks.ispyb_access.writing.procedures.routines import SometimesCalled
from tasks.ispyb_access.writing.rows.writing_rows import fit_row

logger = logging.getLogger(__name__)


def create_ispyb_job(ispyb: Connector, job: CreateJob) -> int:
    """Write a job with its parameters and sweeps, and return its processingJobId.

    All is checked beforehand that can be, as no procedure takes back what another one has written.

    Raises
    ------
    MessageRefused
        The job is of no data collection, or its images aren't known, or a value can't be written.
    """
    if not job.dcid:
        raise MessageRefused("expected a data collection in DCID: ISPyB's procedures make no job without; seen 0")
    processing, sweeps = ispyb.mx_processing, job.sweeps or (_all_images(ispyb, job.dcid),)
    texts = fit_row(JOB, {"displayName": job.displayname, "comments": job.comment, "recipe": job.recipe})
    automatic = {"datacollectionid": job.dcid, "automatic": job.source == AUTOMATIC}
    pairs, images = _parameters(ispyb, job.parameters), [_images(sweep) for sweep in sweeps]
    for dcid in sorted({sweep.dcid for sweep in job.sweeps}):
        _require_collection(ispyb, dcid)
    number: int = processing.upsert_job(filled(processing.get_job_params(), texts, **automatic))
    with _left_behind(number):
        for pair in pairs:
            processing.upsert_job_parameter(filled(processing.get_job_parameter_params(), pair, job_id=number))
        for one in images:
            processing.upsert_job_image_sweep(filled(processing.get_job_image_sweep_params(), one, job_id=number))
    return number


def _parameters(ispyb: Connector, parameters: Sequence[KeyValue]) -> list[dict[str, Any]]:
    """Return the rows of a job's parameters. Raises as `create_ispyb_job` does."""
    rows = [fit_row(PARAMETER, {"parameterKey": one.key, "parameterValue": one.value}) for one in parameters]
    for row in rows:
        values = filled(ispyb.mx_processing.get_job_parameter_params(), row)
        ispyb.require_known("upsert_processing_job_parameter", values)
    return rows


def _images(sweep: JobSweep) -> dict[str, Any]:
    return fit_row(SWEEP, {"dataCollectionId": sweep.dcid, "startImage": sweep.start, "endImage": sweep.end})


def _require_collection(ispyb: Connector, dcid: Dcid) -> None:
    """Check that there is a data collection of this number, as far as we may ask.

    Raises
    ------
    MessageRefused
        There is none.
    """
    try:
        found = rows(ispyb.mx_acquisition.retrieve_data_collection, dcid)
    except (ISPyBException, mysql.connector.Error) as error:
        codes = {cause.errno for cause in causes_of(error) if isinstance(cause, mysql.connector.Error)}
        if not codes & (ACCESS_MYSQL_CODES | MISSING_PROCEDURE_MYSQL_CODES):
            raise
        logger.debug("whether there is a data collection %d can't be looked up: %s", dcid, error)
        return
    if not found:
        raise MessageRefused(f"ISPyB has no data collection {dcid}")


@contextmanager
def _left_behind(number: int) -> Iterator[None]:
    """Have a fault name the job that is written, but for some of its parts: nobody else would find it."""
    try:
        yield
    except Exception as error:
        left = f"{JOB.name} {number} stays in ISPyB without all of its parameters and sweeps: don't run it"
        logger.warning("%s", left)
        error.add_note(left)
        raise


def update_ispyb_job(ispyb: Connector, job: UpdateJob) -> int:
    """Change what is given of a job and return its processingJobId.

    Raises
    ------
    MessageRefused
        There is no such job: the procedure would make one.
    """
    require_job(ispyb, job.job_id)
    processing = ispyb.mx_processing
    texts = fit_row(JOB, {"displayName": job.displayname, "comments": job.comment, "recipe": job.recipe})
    number: int = processing.upsert_job(filled(processing.get_job_params(), texts, id=job.job_id))
    return number


def require_job(ispyb: Connector, number: int) -> None:
    """Check that there is a job of this number.

    Raises
    ------
    MessageRefused
        There is none.
    """
    if not rows(ispyb.mx_processing.retrieve_job, number):
        raise MessageRefused(f"ISPyB has no {JOB.name} {number}")


def _all_images(ispyb: Connector, dcid: Dcid) -> JobSweep:
    found = rows(ispyb.mx_acquisition.retrieve_data_collection, dcid)
    if not found:
        raise MessageRefused(f"ISPyB has no data collection {dcid}")
    return sweep_of(dcid, found[0]["startImgNumber"], found[0]["noImages"])


PROCEDURES: Final[Mapping[str, Procedure]] = {
    "create_ispyb_job": create_ispyb_job,
    "update_ispyb_job": update_ispyb_job,
}

CALLS: Final[Mapping[str, tuple[str, ...]]] = {
    "create_ispyb_job": (
        "upsert_processing_job",
        "upsert_processing_job_parameter",
        "upsert_processing_job_image_sweep",
    ),
    "update_ispyb_job": ("retrieve_processing_job_v2", "upsert_processing_job"),
}

SOMETIMES: Final[Mapping[str, tuple[SometimesCalled, ...]]] = {
    "create_ispyb_job": (SometimesCalled("no sweeps", lambda job: not job.sweeps, ("retrieve_dc",)),),
}
