"""A processing job: what a person, or Mimas, asked for."""

from typing import Any

from sqlalchemy import Connection, bindparam, select

from blocks.identifiers import Dcid, JobId
from tasks.ispyb_access.reading.image_files import SweepFiles, last_image, sweep_files
from tasks.ispyb_access.reading.parameters import JobParameters
from tasks.ispyb_access.reading.rows import (
    COLLECTION,
    JOB,
    JOB_PARAMETER,
    JOB_SWEEP,
    cell,
    labelled,
    plain,
    without_nul,
)

_JOB = select(*labelled(JOB)).where(JOB.c.processingJobId == bindparam("job"))

_PARAMETERS = (
    select(JOB_PARAMETER.c.parameterKey, JOB_PARAMETER.c.parameterValue)
    .where(JOB_PARAMETER.c.processingJobId == bindparam("job"))
    .order_by(JOB_PARAMETER.c.processingJobParameterId)
)

_SWEEPS = (
    select(
        *labelled(JOB_SWEEP, ["dataCollectionId", "startImage", "endImage"]),
        *labelled(COLLECTION, ["imageDirectory", "fileTemplate", "startImageNumber", "numberOfImages"]),
    )
    .outerjoin(COLLECTION, COLLECTION.c.dataCollectionId == JOB_SWEEP.c.dataCollectionId)
    .where(JOB_SWEEP.c.processingJobId == bindparam("job"))
    .order_by(JOB_SWEEP.c.processingJobImageSweepId)
)


def read_job_parameters(connection: Connection, job_id: JobId) -> JobParameters | None:
    """Return what recipes may know of a job; None if there's none of this id.

    A job without sweeps whose recipe is known processes no other images than its data collection's. A job without
    data collection has that of its first sweep.
    """
    row = connection.execute(_JOB, {"job": job_id}).mappings().one_or_none()
    if row is None:
        return None
    values: dict[str, list[str | None]] = {}
    for key, value in connection.execute(_PARAMETERS, {"job": job_id}):
        # A key may come several times: ISPyB doesn't ask for one of each.
        values.setdefault(without_nul(key) or "", []).append(without_nul(value))
    dcids, sweeps = _sweeps(connection, job_id)
    job = plain(row, JOB)
    images: dict[str, Any] = {"images": ",".join(map(str, sweeps))} if sweeps or job["recipe"] else {}
    return JobParameters(
        dcid=job["dataCollectionId"] or next(iter(dcids), None),
        process=job_id,
        processing_job=job,
        processing_parameters=values,
        reprocessing_parameters={key: some[-1] for key, some in values.items()},
        **images,
    )


def _sweeps(connection: Connection, job_id: JobId) -> tuple[list[Dcid], list[SweepFiles]]:
    """Return the data collections of a job's sweeps, and the sweeps; an open end is the data collection's own."""
    dcids, sweeps = [], []
    for row in connection.execute(_SWEEPS, {"job": job_id}).mappings():
        start, count = cell(row, COLLECTION, "startImageNumber"), cell(row, COLLECTION, "numberOfImages")
        first, last = cell(row, JOB_SWEEP, "startImage"), cell(row, JOB_SWEEP, "endImage")
        sweep = sweep_files(
            cell(row, COLLECTION, "imageDirectory"),
            cell(row, COLLECTION, "fileTemplate"),
            start if first is None else first,
            last_image(start, count) if last is None else last,
        )
        dcids.append(cell(row, JOB_SWEEP, "dataCollectionId"))
        if sweep is not None:
            sweeps.append(sweep)
    return dcids, sweeps
