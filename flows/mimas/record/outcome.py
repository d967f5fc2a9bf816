"""What came of an event: a value that programs read back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from blocks.identifiers import Dcid, JobId
from flows.display_text import one_line, shortened
from flows.mimas.scenario import ISPyBJobInvocation
from tasks.step.ports import FailedLaunch, LaunchedRecipe

EventName = Literal["start", "end", "start-group", "end-group"]

ARTIFACT_KEY = "mimas-decision"
FAULTS_CHARACTERS: Final = 2000  # of all launches that failed: a state shows them, and so does every list of runs


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class CreatedJob(_Record):
    """A job in ISPyB.

    Parameters
    ----------
    flow_run_id
        The run of its recipe; None while it's held.
    taken_up
        It's a run that had failed, and goes on.
    was_released
        It was held, and somebody has started it.
    """

    job_id: JobId
    flow_run_id: UUID | None = None
    taken_up: bool = False
    was_released: bool = False


class WantedJob(_Record):
    """An ISPyB job that the rules ask for, and what became of it."""

    recipe: str
    display_name: str
    autostart: bool
    parameters: tuple[tuple[str, str], ...]
    sweeps: tuple[tuple[Dcid, int, int], ...]
    state: str
    job_id: JobId | None = None
    flow_run_id: UUID | None = None


class MimasOutcome(_Record):
    """What Mimas made of an event."""

    dcid: Dcid
    event: EventName
    beamline: str
    dc_class: str
    launched: tuple[LaunchedRecipe, ...]
    not_installed: tuple[str, ...]
    """Recipes that the rules ask for and that have no deployment here; jobs' recipes as `ispyb-…`."""
    failed: tuple[FailedLaunch, ...]
    jobs: tuple[WantedJob, ...]
    matched: tuple[str, ...]
    """Names of the rules that applied."""
    warnings: tuple[str, ...]
    """Facts of ISPyB that were left out since they make no sense, and what else somebody should look at."""
    faults: tuple[str, ...] = ()
    """What kept the rules from deciding: a rule that raised, rules that can't be imported, another's beamline."""
    interrupted: str = ""
    """Why it wasn't carried out to its end, which is to be done when the run is taken up again; empty: it was."""


def describe_job(job: ISPyBJobInvocation, created: CreatedJob | FailedLaunch | None) -> WantedJob:
    """Say what became of a job that the rules ask for; None: its recipe isn't installed here."""
    job_id, flow_run_id = (created.job_id, created.flow_run_id) if isinstance(created, CreatedJob) else (None, None)
    return WantedJob(
        recipe=job.recipe,
        display_name=job.display_name,
        autostart=job.autostart,
        parameters=tuple((parameter.key, parameter.value) for parameter in job.parameters),
        sweeps=tuple((sweep.dcid, sweep.start, sweep.end) for sweep in job.sweeps),
        state=_state(created),
        job_id=job_id,
        flow_run_id=flow_run_id,
    )


def _state(created: CreatedJob | FailedLaunch | None) -> str:
    match created:
        case None:
            return "not installed here"
        case FailedLaunch():
            return f"could not be launched: {created.reason}"
        case CreatedJob(was_released=True):
            return f"job {created.job_id} was held, and has been started since"
        case CreatedJob(flow_run_id=None):
            return f"job {created.job_id} is held: `plaza job start {created.job_id}` starts it"
        case CreatedJob(taken_up=True):
            return f"job {created.job_id} is taken up again"
    return f"job {created.job_id} is launched"


def describe_faults(failed: Iterable[FailedLaunch]) -> str:
    """Say in a line, which isn't too long for a state, what could not be launched."""
    faults = "; ".join(f"{fault.recipe} ({fault.reason})" for fault in failed)
    return shortened(one_line(faults), FAULTS_CHARACTERS)
