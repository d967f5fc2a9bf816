"""Mimas as a flow: an event of a data collection comes in, the recipes that it asks for run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from prefect import flow, get_run_logger
from prefect.context import FlowRunContext
from pydantic import Field

from blocks.errors import PlazaError
from flows.mimas.ispyb_scenario import scenario_from_ispyb
from flows.mimas.launches import launch_decided
from flows.mimas.outcome import EventName, MimasOutcome, describe_faults
from flows.mimas.publishing import label_run, publish
from flows.mimas.rules import decide
from flows.mimas.scenario import Event
from flows.prefect_limits import DcidOrDigits, ExtraParameters
from flows.recipe.ispyb_reading import await_run_status, read_collection
from flows.recipe.mimas_reading import keep_reading
from flows.resources import SiteResources
from tasks.step.ports import LaunchedRecipe

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun


RecipeId = Annotated[str, Field(max_length=200)]
QueueName = Annotated[str, Field(min_length=1, max_length=255)]


class LaunchFailed(PlazaError):
    """Recipes or jobs that Mimas asked for could not be launched."""


@flow(name="mimas", flow_run_name="mimas {event} · dcid {dcid}")
async def mimas(
    dcid: DcidOrDigits,
    event: EventName,
    wait_for_run_status: bool = False,
    run_status_timeout: Annotated[float, Field(ge=0, le=86400)] = 120.0,
    parameters: ExtraParameters | None = None,
    guid: RecipeId | None = None,
    error_queue: QueueName | None = None,
) -> MimasOutcome:
    """Decide what to run for a data collection, and run it.

    Parameters
    ----------
    dcid
        The data collection.
    event
        What happened to it.
    wait_for_run_status
        Decide only when the beamline has said in ISPyB how the collection ended.
    run_status_timeout
        Seconds to wait for that, a day at most; then the run fails.
    parameters
        Parameters for the recipes, beside what ISPyB says; they win over it. Few and small ones.
    guid
        The recipe ID that a client of Zocalo's gave its message; without it the flow run's id is.
    error_queue
        Where the event goes if the beamline hasn't said in time how the collection ended; without it the run fails.
    """
    run = _this_run()
    async with SiteResources() as resources:
        if wait_for_run_status:
            await await_run_status(resources, dcid, run_status_timeout)
        collection = await read_collection(resources, dcid, guid=str(run.id))
        scenario, warnings = scenario_from_ispyb(collection, Event(event))
        await label_run(run, scenario)
        decision = decide(scenario)
        # Kept before the first recipe run looks for it
        read_by = await asyncio.to_thread(keep_reading, collection, run.id) if decision.invocations else None
        outcome = await launch_decided(decision, read_by, parameters or {}, resources, warnings)
    await publish(outcome, decision)  # also of an event of which something couldn't be launched
    _log(outcome)
    if outcome.failed:
        raise LaunchFailed(
            f"could not be launched: {describe_faults(outcome.failed)}; the others run. Retry this run "
            f"when the cause is gone (`plaza resume {run.id}`): what runs already isn't run twice"
        )
    return outcome


def _this_run() -> FlowRun:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise RuntimeError("mimas runs as a Prefect flow only; flows.mimas.rules.decide is the decision without one")
    return context.flow_run


def _earlier(launched: LaunchedRecipe) -> str:
    if not launched.earlier:
        return ""
    stood = f" ({launched.state})" if launched.state else ""
    return f" of an earlier event{stood}{', taken up again' if launched.taken_up else ''}"


def _log(outcome: MimasOutcome) -> None:
    logger = get_run_logger()
    for warning in outcome.warnings:
        logger.warning(warning)
    logger.info("%s on %s; rules: %s", outcome.dc_class, outcome.beamline, ", ".join(outcome.matched) or "none matched")
    for launched in outcome.launched:
        logger.info("recipe %s: run %s%s", launched.recipe, launched.flow_run_id, _earlier(launched))
    for job in outcome.jobs:
        if job.job_id is not None:
            logger.info("%s: %s", job.display_name, job.state)
    if outcome.not_installed:
        logger.warning("not installed here: %s", ", ".join(outcome.not_installed))
