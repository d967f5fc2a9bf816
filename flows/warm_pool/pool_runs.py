"""The runs of a work pool, however many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter, WorkPoolFilterName
from prefect.client.schemas.sorting import FlowRunSort

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

_PAGE: Final = 200  # Prefect gives no more at once


async def read_pool_runs(
    client: PrefectClient, pool: str, wanted: FlowRunFilter, sort: FlowRunSort = FlowRunSort.ID_DESC
) -> list[FlowRun]:
    """Read all runs of a work pool that a filter chooses, in an order."""
    of_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))
    runs: list[FlowRun] = []
    while True:
        page = await client.read_flow_runs(
            flow_run_filter=wanted, work_pool_filter=of_pool, sort=sort, limit=_PAGE, offset=len(runs)
        )
        runs += page
        if len(page) < _PAGE:
            return runs
