"""Launch runs of recipes' deployments, each once however often it's asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final
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
from prefect.exceptions import ObjectNotFound, PrefectException

from flows.display_text import shortened
from flows.prefect_limits import ParametersRefused, check_parameters
from tasks.step.ports import FailedLaunch, Launch, LaunchedRecipe

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

DEPLOYMENT: Final = "live"
REASON_CHARACTERS: Final = 500  # a refusal of Prefect's API repeats all that it was sent


class PrefectLauncher:
    """Launches runs by Prefect's API: `tasks.step.ports.Launcher`."""

    async def installed(self, recipes: Iterable[str]) -> set[str]:
        """Return those of the recipes that have a deployment."""
        async with get_client() as client:  # that of the flow, where a flow asks
            return await _installed_recipes(client, recipes)

    async def launch(self, launches: Sequence[Launch]) -> Sequence[LaunchedRecipe | FailedLaunch]:
        """Launch runs in this order, each unless there is an earlier one of its key; one that fails stops no other."""
        async with get_client() as client:
            earlier = await _runs_by_key(client, [launch.key for launch in launches])
            # One after the other: launched together they take no less time, and on SQLite ten times as long
            return [await _launch_once(client, launch, earlier.get(launch.key)) for launch in launches]


async def _installed_recipes(client: PrefectClient, recipes: Iterable[str]) -> set[str]:
    """Return those of the recipes that have a deployment."""
    flows = await client.read_flows(
        flow_filter=FlowFilter(name=FlowFilterName(any_=list(recipes))),
        deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[DEPLOYMENT])),
    )
    return {flow.name for flow in flows}


async def _runs_by_key(client: PrefectClient, keys: Iterable[str]) -> dict[str, UUID]:
    """Return the runs that have been launched already, by their keys."""
    # Asked first, although the key itself prevents a second run: else a task run that stands for no run stays pending
    runs = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=list(keys)))
    )
    return {run.idempotency_key: run.id for run in runs if run.idempotency_key}


async def _launch_once(client: PrefectClient, launch: Launch, earlier: UUID | None) -> LaunchedRecipe | FailedLaunch:
    """Launch a run unless there is an earlier one of its key."""
    if earlier is not None:
        return LaunchedRecipe(recipe=launch.recipe, flow_run_id=earlier, earlier=True)
    try:
        check_parameters({"dcid": launch.dcid})
        check_parameters(launch.parameters)
        run = await arun_deployment(
            f"{launch.recipe}/{DEPLOYMENT}",
            client=client,
            parameters=_flow_parameters(launch),
            flow_run_name=launch.name,
            tags=list(launch.tags),
            idempotency_key=launch.key,
            timeout=0,  # don't wait for the run's end
        )
    except ObjectNotFound:
        return FailedLaunch(recipe=launch.recipe, reason="it isn't deployed")
    except (ParametersRefused, PrefectException, httpx.HTTPError) as error:
        return FailedLaunch(
            recipe=launch.recipe, reason=shortened(f"{type(error).__name__}: {error}", REASON_CHARACTERS)
        )
    return LaunchedRecipe(recipe=launch.recipe, flow_run_id=run.id)


def _flow_parameters(launch: Launch) -> dict[str, Any]:
    read_by = {} if launch.read_by is None else {"read_by": str(launch.read_by)}
    return {"dcid": launch.dcid, "parameters": dict(launch.parameters), **read_by}
