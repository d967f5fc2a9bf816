"""The jobs that Mimas asks for: created in ISPyB, once however often the event comes, and started or held."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from blocks.errors import ConfigurationError, MessageRefused
from blocks.full_disks import when_there_is_room
from blocks.identifiers import Dcid, JobId
from flows.display_text import shortened
from flows.mimas.backlog import Backlog, HeldJob
from flows.mimas.backlog.held_job import JOB
from flows.mimas.launches.messages import as_message
from flows.mimas.launches.patient_launcher import PatientLauncher
from flows.mimas.record.outcome import CreatedJob
from flows.mimas.record.publishing import tags
from flows.mimas.scenario import ISPyBJobInvocation, Scenario
from flows.prefect_outages import REASON_CHARACTERS
from flows.recipe import ispyb_reading
from flows.run_marks import JOB_RECIPE_PREFIX, job_key
from tasks.step.ports import FailedLaunch, Launch, LaunchedRecipe

if TYPE_CHECKING:
    from tasks.step.resources import Resources

logger = logging.getLogger(__name__)


async def carry_out(
    resources: Resources, launcher: PatientLauncher, job: ISPyBJobInvocation, scenario: Scenario, read_by: UUID | None
) -> CreatedJob | FailedLaunch:
    """Create a job, and start its recipe unless it's held.

    Parameters
    ----------
    read_by
        The run of Mimas whose reading of the data collection is there for the job's recipe.

    Raises
    ------
    DatabaseUnavailable
        ISPyB has been away for ten minutes.
    """
    recipe = JOB_RECIPE_PREFIX + job.recipe
    try:
        job_id = await _create(resources, job)
    except (MessageRefused, ConfigurationError) as error:  # of this job; ISPyB that is away concerns all, and goes up
        reason = shortened(f"the job {job.display_name or job.recipe!r} can't be created: {error}", REASON_CHARACTERS)
        return FailedLaunch(recipe=recipe, reason=reason)
    variables = {variable.key: variable.value for variable in job.trigger_variables}
    if not job.autostart:
        return await _hold(resources, job, job_id, variables, scenario)
    launched = await start(
        launcher, recipe, scenario.dcid, job_id, variables, scenario.beamline, tags(scenario), read_by
    )
    if isinstance(launched, FailedLaunch):
        return launched.model_copy(update={"reason": f"job {job_id}: {launched.reason}"})
    return CreatedJob(job_id=job_id, flow_run_id=launched.flow_run_id, taken_up=launched.taken_up)


async def _hold(
    resources: Resources, job: ISPyBJobInvocation, job_id: JobId, variables: Mapping[str, str], scenario: Scenario
) -> CreatedJob | FailedLaunch:
    held = HeldJob(
        message={"parameters": {**variables, JOB: job_id}},
        since=datetime.now(UTC),
        job_id=job_id,
        recipe=job.recipe,
        dcid=scenario.dcid,
        beamline=scenario.beamline,
        visit=scenario.visit,
    )
    backlog = Backlog.of(resources.settings.home)
    try:
        is_held = await when_there_is_room(lambda: backlog.hold(held))
    except OSError as error:
        reason = f"job {job_id} is in ISPyB, but can't be held in {backlog.path}: {error}"
        return FailedLaunch(recipe=JOB_RECIPE_PREFIX + job.recipe, reason=shortened(reason, REASON_CHARACTERS))
    return CreatedJob(job_id=job_id, was_released=not is_held)


async def start(
    launcher: PatientLauncher,
    recipe: str,
    dcid: Dcid | None,
    job_id: JobId,
    variables: Mapping[str, Any],
    label: str,
    run_tags: Sequence[str] = (),
    read_by: UUID | None = None,
) -> LaunchedRecipe | FailedLaunch:
    """Launch a job's recipe, once for the job; one that failed or was killed is taken up again.

    Parameters
    ----------
    recipe
        Its name, as in `ispyb-autoprocessing-xia2-dials`.
    dcid
        The job's data collection; None: it has sweeps only.
    variables
        What the job's recipe is to be started with beside the job itself: its trigger variables.
    label
        What the run's name says of it: the beamline, or who asked.
    """
    parameters = {**variables, JOB: job_id}
    name = f"{recipe} · dcid {dcid or 'none'} · {label} · job {job_id}"
    return await launcher.launch(Launch(recipe, dcid, parameters, job_key(dcid, job_id), name, run_tags, read_by))


async def _create(resources: Resources, job: ISPyBJobInvocation) -> JobId:
    from tasks.ispyb_access.writing.fulfilment import fulfil
    from tasks.ispyb_access.writing.patience import patiently
    from tasks.ispyb_access.writing.requests import Request

    # No entry of its own in the ledger: an automatic job has one by what it asks for, whoever asks again
    request = Request("create_ispyb_job", (as_message(job),), {})
    outcome = await patiently(
        lambda: fulfil(request, resources.ispyb_writer, entry=None), logger, ispyb_reading.OUTAGE_PATIENCE_S
    )
    return JobId(int(outcome.value))
