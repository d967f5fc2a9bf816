"""Mimas as a flow: an event of a data collection comes in, the recipes that it asks for run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

from prefect import flow
from prefect.client.schemas.objects import State  # without it Prefect couldn't read the flow's types
from prefect.context import FlowRunContext
from prefect.states import Completed
from pydantic import BeforeValidator, Field, WithJsonSchema

from blocks.broker_names import BrokerName
from blocks.errors import DatabaseUnavailable, PlazaError
from flows.display_text import one_line, shortened
from flows.mimas.deciding import decision_of, not_served
from flows.mimas.launches.launching import launch_decided
from flows.mimas.record import mimas_run_folder
from flows.mimas.record.outcome import FAULTS_CHARACTERS, EventName, MimasOutcome, describe_faults
from flows.mimas.record.publishing import label_run, publish
from flows.mimas.scenario import Event
from flows.prefect_limits import DcidOrDigits, ExtraParameters, state_message
from flows.recipe.readiness import ERROR_QUEUE, TIMEOUT, WAIT, RunStatusWait, await_readiness
from flows.recipe.run_record.recipe_ids import GUID, note_recipe_id, recipe_id_of
from flows.resources import SiteResources
from tasks.logs.run_log import run_log
from tasks.step.identity import StepIdentity
from tasks.step.ports import LaunchedRecipe

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

    from blocks.identifiers import Dcid
    from flows.recipe.run_record.recipe_ids import RecipeId

logger = logging.getLogger(__name__)

GUID_CHARACTERS: Final = 1000
Guid = Annotated[
    str,
    Field(max_length=GUID_CHARACTERS),
    BeforeValidator(lambda value: str(value) if isinstance(value, int) and not isinstance(value, bool) else value),
    WithJsonSchema({"anyOf": [{"type": "string", "maxLength": GUID_CHARACTERS}, {"type": "integer"}]}),
]
QueueName = Annotated[BrokerName, Field(min_length=1, max_length=200)]
NOT_READY: Final = "NotReady"
"""The state of a run whose event went to its error queue."""


class LaunchFailed(PlazaError):
    """Recipes or jobs that Mimas asked for could not be launched."""


class RulesFailed(PlazaError):
    """Some rules could not be asked; what the others ask for is launched."""


class OtherBeamline(PlazaError):
    """The data collection is of a beamline that this site doesn't serve."""


@flow(name="mimas", flow_run_name="mimas {event} · dcid {dcid}")
async def mimas(
    dcid: DcidOrDigits,
    event: EventName,
    wait_for_run_status: bool = False,
    run_status_timeout: Annotated[float, Field(ge=0, le=86400)] = 120.0,
    parameters: ExtraParameters | None = None,
    guid: Guid | None = None,
    error_queue: QueueName | None = None,
) -> MimasOutcome | State[Any]:
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
    run, given = _this_run(), parameters or {}
    recipe_id = recipe_id_of({} if guid is None else {GUID: guid}, str(run.id))
    note_recipe_id(recipe_id, str(run.id))
    wait = _wait(run, run_status_timeout, error_queue) if wait_for_run_status else None
    async with SiteResources() as resources:
        identity = StepIdentity(recipe_id.text, "mimas", dcid)
        with run_log(mimas_run_folder(run.id).log, identity, resources.settings.log_level):
            try:
                if wait is not None:
                    request = _as_request(dcid, event, given, recipe_id, wait)
                    if sent := await await_readiness(dcid, wait, request, resources):
                        logger.warning(sent)
                        return Completed(name=NOT_READY, message=state_message(sent))
                return await _carry_out(run, dcid, Event(event), given, recipe_id, resources)
            except PlazaError as error:
                logger.error("%s: %s", type(error).__name__, error)
                raise


async def _carry_out(
    run: FlowRun, dcid: Dcid, event: Event, given: Mapping[str, Any], recipe_id: RecipeId, resources: SiteResources
) -> MimasOutcome:
    """Launch what is decided, all of it that can be, and then say what couldn't."""
    folder = mimas_run_folder(run.id)
    record = await decision_of(dcid, event, given, run.id, recipe_id, folder, resources)
    await label_run(run, record.scenario, recipe_id.given)
    outcome = await launch_decided(record, run.id if record.has_reading else None, resources)
    await folder.keep(record.model_copy(update={"outcome": outcome}))
    await publish(outcome, record)  # also of an event of which something couldn't be launched
    _log(outcome)
    if outcome.interrupted:
        raise DatabaseUnavailable(
            f"{outcome.interrupted}; not created: {describe_faults(outcome.failed)}. `plaza resume {run.id}` goes on"
        )
    if refusal := not_served(record.scenario, resources.settings):
        raise OtherBeamline(refusal)
    _require_all(outcome, run)
    return outcome


def _require_all(outcome: MimasOutcome, run: FlowRun) -> None:
    """Fail the run if something is missing.

    Raises
    ------
    RulesFailed, LaunchFailed
        What, and what to do about it.
    """
    rules = launches = ""
    if outcome.faults:
        faults = shortened(one_line("; ".join(outcome.faults)), FAULTS_CHARACTERS)
        rules = (
            f"not all rules could be asked: {faults}. What the others ask for is launched; mend or switch off the "
            f"rule, then `plaza resume {run.id}`, which decides anew and launches what is missing"
        )
    if outcome.failed:
        launches = (
            f"could not be launched: {describe_faults(outcome.failed)}; the others run. Retry this run "
            f"when the cause is gone (`plaza resume {run.id}`): what runs already isn't run twice"
        )
    if launches:
        raise LaunchFailed("; ".join(filter(None, (launches, rules))))
    if rules:
        raise RulesFailed(rules)


def _wait(run: FlowRun, timeout_s: float, error_queue: str | None) -> RunStatusWait:
    if error_queue is None or run.start_time is None:
        return RunStatusWait(timeout_s, error_queue)
    # From the first start of a run that is taken up again: the message is the same then, and is sent once
    return RunStatusWait(timeout_s, error_queue, run.start_time.timestamp() + timeout_s)


def _as_request(
    dcid: Dcid, event: str, given: Mapping[str, Any], recipe_id: RecipeId, wait: RunStatusWait
) -> dict[str, Any]:
    """Return the event as a message for Zocalo's dispatcher."""
    own = {"ispyb_dcid": dcid, "event": event, GUID: recipe_id.text, WAIT: 1, TIMEOUT: wait.timeout_s}
    queue = {} if wait.error_queue is None else {ERROR_QUEUE: wait.error_queue}
    return {"recipes": ["mimas"], "parameters": {**given, **own, **queue}}


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
    for warning in outcome.warnings:
        logger.warning(warning)
    logger.info("%s on %s; rules: %s", outcome.dc_class, outcome.beamline, ", ".join(outcome.matched) or "none matched")
    for launched in outcome.launched:
        logger.info("recipe %s: run %s%s", launched.recipe, launched.flow_run_id, _earlier(launched))
    for job in outcome.jobs:
        if job.job_id is not None:
            logger.info("%s: %s", job.display_name or job.recipe, job.state)
    if outcome.not_installed:
        logger.warning("not installed here: %s", ", ".join(outcome.not_installed))
