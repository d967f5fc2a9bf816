"""Launch what Mimas decided as runs of the recipes' deployments, each once however often the event comes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from blocks.errors import DatabaseUnavailable
from flows.mimas.launches import jobs
from flows.mimas.launches.messages import run_key
from flows.mimas.launches.patient_launcher import PatientLauncher
from flows.mimas.record import DecisionRecord
from flows.mimas.record.outcome import CreatedJob, MimasOutcome, describe_job
from flows.mimas.record.publishing import tags
from flows.mimas.scenario import ISPyBJobInvocation, Scenario
from flows.run_marks import JOB_RECIPE_PREFIX
from tasks.step.ports import FailedLaunch, Launch, LaunchedRecipe

if TYPE_CHECKING:
    from tasks.step.resources import Resources


async def launch_decided(record: DecisionRecord, read_by: UUID | None, resources: Resources) -> MimasOutcome:
    """Launch the recipes of a decision that are installed here, and create the jobs whose recipes are.

    Parameters
    ----------
    record
        What the rules ask for, and the parameters that came with the event: those win over ISPyB's, and other ones make
        other runs. Jobs have their own.
    read_by
        The run of Mimas whose reading of the data collection is there for the recipes; None: they read it themselves.
    resources
        The launcher of recipe runs, and the writer of jobs to ISPyB.

    Returns
    -------
    MimasOutcome
        What was launched, what isn't installed, and what could not be launched: a failure doesn't stop the others. It's
        interrupted where ISPyB has been away for ten minutes.

    Raises
    ------
    PrefectUnavailable
        Prefect's API has been away for minutes before anything is launched.
    """
    scenario = record.scenario
    wanted = [invocation.recipe for invocation in record.recipes]
    job_recipes = [JOB_RECIPE_PREFIX + job.recipe for job in record.jobs]
    launcher = PatientLauncher(resources.launcher)
    installed = await launcher.installed([*wanted, *job_recipes]) if wanted or job_recipes else set()
    recipes = [recipe for recipe in wanted if recipe in installed]
    in_order = sorted(dict.fromkeys(recipes), key=_can_wait)
    outcomes = {recipe: await launcher.launch(_launch(record, recipe, read_by)) for recipe in in_order}
    # After the recipes, for which people at the beamline wait: to create a job waits for an ISPyB that is away
    here = [job for job in record.jobs if JOB_RECIPE_PREFIX + job.recipe in installed]
    created, interrupted = await _carry_out_jobs(here, resources, launcher, scenario, read_by)
    launches = [*(outcomes[recipe] for recipe in dict.fromkeys(recipes)), *created.values()]
    return MimasOutcome(
        dcid=scenario.dcid,
        event=scenario.event.value,
        beamline=scenario.beamline,
        dc_class=scenario.dc_class.value,
        launched=tuple(launch for launch in launches if isinstance(launch, LaunchedRecipe)),
        not_installed=tuple(name for name in dict.fromkeys([*wanted, *job_recipes]) if name not in installed),
        failed=tuple(launch for launch in launches if isinstance(launch, FailedLaunch)),
        jobs=tuple(describe_job(job, created.get(job)) for job in record.jobs),
        matched=record.matched,
        warnings=record.warnings,
        faults=record.faults,
        interrupted=interrupted,
    )


async def _carry_out_jobs(
    wanted: Sequence[ISPyBJobInvocation],
    resources: Resources,
    launcher: PatientLauncher,
    scenario: Scenario,
    read_by: UUID | None,
) -> tuple[dict[ISPyBJobInvocation, CreatedJob | FailedLaunch], str]:
    """Create jobs, and return what became of each; where ISPyB stays away, the rest are none, and it's said why."""
    created: dict[ISPyBJobInvocation, CreatedJob | FailedLaunch] = {}
    for number, job in enumerate(wanted):
        try:
            created[job] = await jobs.carry_out(resources, launcher, job, scenario, read_by)
        except DatabaseUnavailable as error:
            for other in wanted[number:]:
                reason = f"ISPyB is away, so job {other.display_name!r} isn't created"
                created[other] = FailedLaunch(recipe=JOB_RECIPE_PREFIX + other.recipe, reason=reason)
            return created, str(error)
    return created, ""


def _can_wait(recipe: str) -> bool:
    """Tell whether nobody at the beamline waits for a recipe: results go first, archiving after them."""
    return recipe.startswith("archive-")


def _launch(record: DecisionRecord, recipe: str, read_by: UUID | None) -> Launch:
    scenario = record.scenario
    name = f"{recipe} · dcid {scenario.dcid} · {scenario.beamline}"
    key = run_key(scenario, recipe, record.given)
    return Launch(recipe, scenario.dcid, record.given, key, name, tags(scenario), read_by)
