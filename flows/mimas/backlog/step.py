"""Hold what Mimas doesn't start at once: Zocalo's queue `mimas.held`, which the service MimasBacklog serves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from blocks.errors import ConfigurationError, DatabaseUnavailable, MessageRefused, UnknownDataCollection, UnknownJob
from blocks.identifiers import Dcid, JobId, parse_dcid, parse_job_id
from flows.mimas.backlog import Backlog, HeldJob
from flows.mimas.backlog.held_job import JOB
from tasks.step import Message, Note, Send, StepContext, StepParameters, message_step
from tasks.step.resources import Resources

DCID: Final = "ispyb_dcid"
STARTS: Final = ("recipes", "custom_recipe")
"""What of a message says what is to run, beside a job."""


class HoldParameters(StepParameters):
    """None: all is in the message."""


@message_step(queue="mimas.held", parameters=HoldParameters, outputs=("dispatcher",), default_output="dispatcher")
def hold_job(parameters: HoldParameters, message: Message, context: StepContext) -> Iterable[Send]:
    """Hold a job that isn't to be started at once, with what it's to be started with, until somebody starts it.

    `plaza job held` lists what is held, and `plaza job start JOB` starts one. Nothing is sent on the output as yet:
    Zocalo's backlog sends the message there when there's room for it.
    """
    held = _held_job(message, context)
    is_held = Backlog.of(context.resources.settings.home).hold(held)
    context.note(Note("jobs held" if is_held else "jobs that had been released before"))
    context.logger.info("%s: %s", "held" if is_held else "was released before", held.is_for)
    return ()


def _held_job(message: Message, context: StepContext) -> HeldJob:
    body = message.payload
    parameters = body.get("parameters") if isinstance(body, Mapping) else None
    if not isinstance(parameters, Mapping):
        raise MessageRefused(
            "expected a message for the dispatcher, {parameters: {ispyb_process: JOB, …}}, with recipes or without; "
            f"seen {body!r:.200}"
        )
    job_id, dcid = _ids(parameters)
    if job_id is None and not any(body.get(name) for name in STARTS):
        raise MessageRefused(
            f"nothing would be started: expected {JOB}, a job's number, among the message's parameters, or recipes or "
            f"custom_recipe; seen {body!r:.200}"
        )
    known = {} if job_id is None and dcid is None else _look_up(context, job_id, dcid)
    since = datetime.fromtimestamp(message.sent_at, UTC) if message.sent_at else datetime.now(UTC)
    return HeldJob(message=body, since=since, key=context.key(message), job_id=job_id, **known)


def _ids(parameters: Mapping[str, Any]) -> tuple[JobId | None, Dcid | None]:
    job, dcid = parameters.get(JOB), parameters.get(DCID)
    try:
        return None if job is None else parse_job_id(job), None if dcid is None else parse_dcid(dcid)
    except (UnknownJob, UnknownDataCollection) as error:
        raise MessageRefused(str(error)) from error


def _look_up(context: StepContext, job_id: JobId | None, dcid: Dcid | None) -> dict[str, Any]:
    """Return what ISPyB knows of it; nothing, with a warning, where it can't be asked: to be held is what counts."""
    known: dict[str, Any] = {"dcid": dcid}
    try:
        return known | _from_ispyb(context.resources, job_id, dcid)
    except (UnknownJob, DatabaseUnavailable, ConfigurationError) as error:
        context.logger.warning("%s is held without what ISPyB knows of it: %s", job_id or dcid, error)
        return known


def _from_ispyb(resources: Resources, job_id: JobId | None, dcid: Dcid | None) -> dict[str, Any]:
    from tasks.ispyb_access.overviews.jobs import read_job
    from tasks.ispyb_access.reading.beamlines import read_beamlines

    known: dict[str, Any] = {}
    if job_id is not None:
        job = read_job(resources.ispyb, job_id)
        known = {"dcid": job.dcid or dcid, "recipe": job.recipe}
        dcid = known["dcid"]
    if dcid is not None:
        known["beamline"] = read_beamlines(resources.ispyb, [dcid]).get(dcid)
    return known
