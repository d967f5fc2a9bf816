"""Recipe runs that Prefect's server knows."""

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags


async def recipe_runs_of(dcid):
    """Return the recipe runs for a data collection."""
    async with get_client() as client:
        runs = await client.read_flow_runs(flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[f"dcid:{dcid}"])))
    return [run for run in runs if not run.name.startswith("mimas")]
