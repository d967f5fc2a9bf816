"""Mimas as a flow: an event of a data collection comes in, the recipes that it asks for run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from prefect import flow, get_run_logger
from prefect.context import FlowRunContext

from blocks.errors import PlazaError
from flows.mimas.carrying_out import launch
from flows.mimas.ispyb_scenario import scenario_from_ispyb
from flows.mimas.outcome import MimasOutcome
from flows.mimas.publishing import label_run, publish
from flows.mimas.rules import decide
from flows.mimas.scenario import Event
from flows.recipe.ispyb_reading import await_run_status, read_parameters
from flows.resources import SiteResources

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun


class LaunchFailed(PlazaError):
    """Recipes or jobs that Mimas asked for could not be launched."""


@flow(name="mimas", flow_run_name="mimas {event} · dcid {dcid}")
async def mimas(
    dcid: int,
    event: Literal["start", "end"],
    wait_for_run_status: bool = False,
    run_status_timeout: float = 120.0,
    parameters: dict[str, Any] | None = None,
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
        Seconds to wait for that; then the run fails.
    parameters
        Parameters for the recipes, beside what ISPyB says; they win over it.
    """
    run = _this_run()
    async with SiteResources() as resources:
        if wait_for_run_status:
            await await_run_status(resources, dcid, run_status_timeout)
        known = await read_parameters(resources, {"ispyb_dcid": dcid}, guid=str(run.id))
        scenario, warnings = scenario_from_ispyb(dcid, Event(event), known)
        await label_run(run, scenario)
        decision = decide(scenario)
        outcome = await launch(decision, known, parameters or {}, resources, warnings)
    await publish(outcome, decision)
    _log(outcome)
    if outcome.failed:
        faults = "; ".join(f"{fault.recipe} ({fault.reason})" for fault in outcome.failed)
        raise LaunchFailed(
            f"could not be launched: {faults}; the others run. Retry this run when the cause is gone: "
            "what runs already isn't run twice"
        )
    return outcome


def _this_run() -> FlowRun:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise RuntimeError("mimas runs as a Prefect flow only; flows.mimas.rules.decide is the decision without one")
    return context.flow_run


def _log(outcome: MimasOutcome) -> None:
    logger = get_run_logger()
    for warning in outcome.warnings:
        logger.warning(warning)
    logger.info("%s on %s; rules: %s", outcome.dc_class, outcome.beamline, ", ".join(outcome.matched) or "none matched")
    for launched in outcome.launched:
        logger.info(
            "recipe %s: run %s%s",
            launched.recipe,
            launched.flow_run_id,
            " of an earlier event" if launched.earlier else "",
        )
    for job in outcome.jobs:
        if job.job_id is not None:
            logger.info("%s: %s", job.display_name, job.state)
    if outcome.not_installed:
        logger.warning("not installed here: %s", ", ".join(outcome.not_installed))
