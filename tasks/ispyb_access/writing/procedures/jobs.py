"""Processing jobs, by procedures: each part of a job is written by a call of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from blocks.errors import MessageRefused
from blocks.identifiers import Dcid
from tasks.ispyb_access.writing.commands.jobs import AUTOMATIC, JOB, CreateJob, JobSweep, UpdateJob, sweep_of
from tasks.ispyb_access.writing.procedures.calling import Connector, Procedure, filled, rows
from tasks.ispyb_access.writing.procedures.routines import SometimesCalled
from tasks.ispyb_access.writing.rows.writing_rows import fit_row


def create_ispyb_job(ispyb: Connector, job: CreateJob) -> int:
    """Write a job with its parameters and sweeps, and return its processingJobId.

    Raises
    ------
    MessageRefused
        The job is of no data collection, or its images aren't known.
    """
    if not job.dcid:
        raise MessageRefused("expected a data collection in DCID: ISPyB's procedures make no job without; seen 0")
    processing, sweeps = ispyb.mx_processing, job.sweeps or (_all_images(ispyb, job.dcid),)
    texts = fit_row(JOB, {"displayName": job.displayname, "comments": job.comment, "recipe": job.recipe})
    automatic = {"datacollectionid": job.dcid, "automatic": job.source == AUTOMATIC}
    number: int = processing.upsert_job(filled(processing.get_job_params(), texts, **automatic))
    for parameter in job.parameters:
        pair = {"parameter_key": parameter.key, "parameter_value": parameter.value}
        processing.upsert_job_parameter(filled(processing.get_job_parameter_params(), pair, job_id=number))
    for sweep in sweeps:
        images = {"datacollectionid": sweep.dcid, "start_image": sweep.start, "end_image": sweep.end}
        processing.upsert_job_image_sweep(filled(processing.get_job_image_sweep_params(), images, job_id=number))
    return number


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
