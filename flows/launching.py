"""Launch runs of recipes' deployments, each once however often it's asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
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

from blocks.errors import PrefectUnavailable
from flows.display_text import one_line, shortened
from flows.prefect_limits import ParametersRefused, check_parameters
from flows.prefect_outages import is_outage
from tasks.step.ports import FailedLaunch, Launch, LaunchedRecipe

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

DEPLOYMENT: Final = "live"
TAG_CHARACTERS: Final = 100  # visits and beamlines take 45 in ISPyB
REASON_CHARACTERS: Final = 500  # a refusal of Prefect's API repeats all that it was sent


def collection_tags(dcid: object, beamline: object, visit: object) -> list[str]:
    """Return the tags by which all runs for a data collection, a beamline or a visit are found in the UI."""
    named = [f"dcid:{dcid}" if dcid else None, beamline, visit]
    # NUL, for one, Prefect's database can't take
    texts = [shortened(one_line(str(tag)), TAG_CHARACTERS) for tag in named if tag]
    return list(dict.fromkeys(texts))


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
        reason = shortened(repr(error), REASON_CHARACTERS)
        raise PrefectUnavailable(f"Prefect's API doesn't answer: {reason}") from error


async def _installed_recipes(client: PrefectClient, recipes: Iterable[str]) -> set[str]:
    """Return those of the recipes that have a deployment."""
    flows = await client.read_flows(
        flow_filter=FlowFilter(name=FlowFilterName(any_=list(recipes))),
        deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[DEPLOYMENT])),
    )
    return {flow.name for flow in flows}


async def _earlier_run(client: PrefectClient, launch: Launch) -> UUID | None:
    """Return the run of a launch's recipe that has its key already."""
    # Of this recipe: as with Prefect's idempotency, another recipe's run of the same key is another run
    runs = await client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=[launch.recipe])),
        flow_run_filter=FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=[launch.key])),
    )
    return runs[0].id if runs else None


async def _launch_once(client: PrefectClient, launch: Launch) -> LaunchedRecipe | FailedLaunch:
    """Launch a run unless there is an earlier one of its key; an outage is raised."""
    # Asked first, although the key itself prevents a second run: else a task run that stands for no run stays pending
    earlier = await _earlier_run(client, launch)
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
    return {"dcid": launch.dcid, "parameters": dict(launch.parameters), **read_by}
