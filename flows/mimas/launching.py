"""Launch what Mimas decided as runs of the recipes' deployments, each once however often the event comes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterIdempotencyKey,
)
from prefect.deployments import arun_deployment
from prefect.exceptions import PrefectException

from flows.mimas.decision import Decision
from flows.mimas.outcome import FailedLaunch, LaunchedRecipe, MimasOutcome, describe_job
from flows.mimas.publishing import tags

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

DEPLOYMENT = "live"
JOB_PREFIX = "ispyb-"


async def launch(
    decision: Decision, read: Mapping[str, Any], given: Mapping[str, Any], warnings: Iterable[str] = ()
) -> MimasOutcome:
    """Launch the recipes of a decision that are installed here.

    Parameters
    ----------
    decision
        What the rules ask for.
    read
        The data collection's parameters as read from ISPyB: the recipes needn't read it again.
    given
        Parameters that came with the event: they win, and other ones make other runs.
    warnings
        Passed on to the outcome.

    Returns
    -------
    MimasOutcome
        What was launched, what isn't installed, and what Prefect's API refused: a failure doesn't stop the others.
    """
    scenario = decision.scenario
    wanted = [invocation.recipe for invocation in decision.recipes]
    job_recipes = [JOB_PREFIX + job.recipe for job in decision.jobs]
    async with get_client() as client:
        installed = await installed_recipes(client, [*wanted, *job_recipes])
        keys = {recipe: run_key(decision, recipe, given) for recipe in wanted if recipe in installed}
        earlier = await _runs_by_key(client, keys.values())
        # One after the other: launched together they take no less time, and on SQLite ten times as long
        launched = {
            recipe: await _launch_once(client, decision, recipe, {**read, **given}, key, earlier.get(key))
            for recipe, key in sorted(keys.items(), key=_can_wait)
        }
    launches = [launched[recipe] for recipe in keys]
    return MimasOutcome(
        dcid=scenario.dcid,
        event=scenario.event.value,
        beamline=scenario.beamline,
        dc_class=scenario.dc_class.value,
        launched=tuple(launch for launch in launches if isinstance(launch, LaunchedRecipe)),
        not_installed=tuple(name for name in dict.fromkeys([*wanted, *job_recipes]) if name not in installed),
        failed=tuple(launch for launch in launches if isinstance(launch, FailedLaunch)),
        jobs=tuple(describe_job(job, is_installed=JOB_PREFIX + job.recipe in installed) for job in decision.jobs),
        matched=decision.matched,
        warnings=tuple(warnings),
    )


def _can_wait(launch: tuple[str, str]) -> bool:
    """Tell whether nobody at the beamline waits for a recipe: results go first, archiving after them."""
    recipe, _ = launch
    return recipe.startswith("archive-")


def run_key(decision: Decision, recipe: str, given: Mapping[str, Any]) -> str:
    """Return what tells one launch from another: the same key is the same run."""
    key = f"{decision.scenario.dcid}-{decision.scenario.event.value}-{recipe}"
    if not given:
        return key
    text = json.dumps(given, sort_keys=True, default=str)
    return f"{key}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


async def installed_recipes(client: PrefectClient, recipes: Iterable[str]) -> set[str]:
    """Return those of the recipes that have a deployment."""
    flows = await client.read_flows(
        flow_filter=FlowFilter(name=FlowFilterName(any_=list(recipes))),
        deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[DEPLOYMENT])),
    )
    return {flow.name for flow in flows}


async def _runs_by_key(client: PrefectClient, keys: Iterable[str]) -> dict[str, UUID]:
    # Asked first, although the key itself prevents a second run: else a task run that stands for no run stays pending
    runs = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=list(keys)))
    )
    return {run.idempotency_key: run.id for run in runs if run.idempotency_key}


async def _launch_once(
    client: PrefectClient, decision: Decision, recipe: str, parameters: dict[str, Any], key: str, earlier: UUID | None
) -> LaunchedRecipe | FailedLaunch:
    if earlier is not None:
        return LaunchedRecipe(recipe=recipe, flow_run_id=earlier, earlier=True)
    scenario = decision.scenario
    try:
        run = await arun_deployment(
            f"{recipe}/{DEPLOYMENT}",
            client=client,
            parameters={"dcid": scenario.dcid, "parameters": parameters},
            flow_run_name=f"{recipe} · dcid {scenario.dcid} · {scenario.beamline}",
            tags=tags(scenario),
            idempotency_key=key,
            timeout=0,
        )
    except (PrefectException, httpx.HTTPError) as error:
        return FailedLaunch(recipe=recipe, reason=f"{type(error).__name__}: {error}")
    return LaunchedRecipe(recipe=recipe, flow_run_id=run.id)
