"""Launch runs of recipes' deployments, each once however often it's asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

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
from prefect.exceptions import ObjectNotFound, PrefectException

from flows.display_text import one_line, shortened
from flows.prefect_limits import ParametersRefused, check_parameters, idempotency_key, run_name
from flows.prefect_outages import REASON_CHARACTERS, is_outage, unavailable
from flows.rescheduling import has_ended_badly, start_again, why_not_startable
from tasks.step.ports import FailedLaunch, Launch, LaunchedRecipe

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, State

DEPLOYMENT: Final = "live"
STATE_CHARACTERS: Final = 200  # of what an earlier run's state says


class PrefectLauncher:
    """Launches runs by Prefect's API: `tasks.step.ports.Launcher`."""

    async def installed(self, recipes: Iterable[str]) -> set[str]:
        """Return those of the recipes that have a deployment."""
        async with _client() as client:
            return await _installed_recipes(client, recipes)

    async def launch(self, launches: Sequence[Launch]) -> Sequence[LaunchedRecipe | FailedLaunch]:
        """Launch runs as `tasks.step.ports.Launcher` says."""
        async with _client() as client:
            # One after the other: launched together they take no less time, and on SQLite ten times as long
            return [await _launch_once(client, launch) for launch in launches]


@asynccontextmanager
async def _client() -> AsyncIterator[PrefectClient]:
    """Give a client of Prefect's API, that of the flow where a flow asks.

    Raises
    ------
    PrefectUnavailable
        Prefect's API doesn't answer.
    """
    try:
        async with get_client() as client:
            yield client
    except httpx.HTTPError as error:
        if not is_outage(error):
            raise
        raise unavailable(error) from error


async def _installed_recipes(client: PrefectClient, recipes: Iterable[str]) -> set[str]:
    """Return those of the recipes that have a deployment."""
    flows = await client.read_flows(
        flow_filter=FlowFilter(name=FlowFilterName(any_=list(recipes))),
        deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[DEPLOYMENT])),
    )
    return {flow.name for flow in flows}


async def _run_with_key(client: PrefectClient, launch: Launch) -> FlowRun | None:
    """Return the run of a launch's recipe that has its key already."""
    # Of this recipe: as with Prefect's idempotency, another recipe's run of the same key is another run
    runs = await client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=[launch.recipe])),
        flow_run_filter=FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=[launch.key])),
    )
    return runs[0] if runs else None


async def _launch_once(client: PrefectClient, launch: Launch) -> LaunchedRecipe | FailedLaunch:
    """Launch a run unless there is one of its key; an outage is raised."""
    # Asked first, although the key itself prevents a second run: else a task run that stands for no run stays pending
    key = idempotency_key(launch.key)
    launch = replace(launch, key=key)
    while (earlier := await _run_with_key(client, launch)) is not None:
        launched = await _go_on_with(client, launch, earlier)
        if launched is not None:
            return launched
        launch = replace(launch, key=f"{key}-instead-of-{earlier.id}")
    return await _launch_anew(client, launch)


async def _go_on_with(client: PrefectClient, launch: Launch, earlier: FlowRun) -> LaunchedRecipe | None:
    """Leave an earlier run as it is, or have it taken up; None: it has ended badly, and no worker could start it."""
    run = LaunchedRecipe(recipe=launch.recipe, flow_run_id=earlier.id, earlier=True, state=_in_a_line(earlier.state))
    if not has_ended_badly(earlier.state):
        return run
    if await why_not_startable(client, earlier):
        return None
    other_state = await start_again(client, earlier.id, "taken up again: it was asked for again")
    if other_state is not None:  # somebody else was quicker
        return run.model_copy(update={"state": _in_a_line(other_state)})
    return run.model_copy(update={"taken_up": True})


def _in_a_line(state: State | None) -> str:
    if state is None:
        return ""
    said = f": {shortened(one_line(state.message), STATE_CHARACTERS)}" if state.message else ""
    return f"{state.name}{said}"


async def _launch_anew(client: PrefectClient, launch: Launch) -> LaunchedRecipe | FailedLaunch:
    """Create a run; one that is refused is returned as such, an outage is raised."""
    try:
        check_parameters({"dcid": launch.dcid})
        check_parameters(launch.parameters)
        check_parameters(launch.flow_parameters)
        run = await arun_deployment(
            f"{launch.recipe}/{launch.deployment}",
            client=client,
            parameters=_flow_parameters(launch),
            flow_run_name=run_name(launch.name) if launch.name else None,
            tags=list(launch.tags),
            idempotency_key=launch.key,
            timeout=0,  # don't wait for the run's end
        )
    except ObjectNotFound:
        return FailedLaunch(recipe=launch.recipe, reason="it isn't deployed")
    # InvalidURL: a job names its recipe as it likes, and the name becomes part of an address
    except (ParametersRefused, PrefectException, httpx.HTTPError, httpx.InvalidURL) as error:
        if is_outage(error):  # which is no refusal
            raise
        return FailedLaunch(
            recipe=launch.recipe, reason=shortened(f"{type(error).__name__}: {error}", REASON_CHARACTERS)
        )
    return LaunchedRecipe(recipe=launch.recipe, flow_run_id=run.id)


def _flow_parameters(launch: Launch) -> dict[str, Any]:
    read_by = {} if launch.read_by is None else {"read_by": str(launch.read_by)}
    return {"dcid": launch.dcid, "parameters": dict(launch.parameters), **read_by, **launch.flow_parameters}
