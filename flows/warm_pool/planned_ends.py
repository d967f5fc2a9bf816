"""How often a run was ended with its site, by `plaza down`: that it's Crashed then says nothing against the run.

The state itself doesn't tell: it's Prefect's engine in the run's process that reports it, as after any SIGTERM.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Final
from uuid import UUID

import httpx
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.exceptions import PrefectException

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, State

logger = logging.getLogger(__name__)

LABEL: Final = "plaza.planned-ends"
_PAGE: Final = 200  # Prefect's most
_AT_ONCE: Final = 8


async def note_planned_ends(client: PrefectClient, runs: Collection[UUID], patience_s: float) -> None:
    """Count for each run that it's about to be ended with its site; without the API, within a time, it's logged."""
    if not runs:
        return
    try:
        async with asyncio.timeout(patience_s):
            await _note(client, [*runs])
    except (TimeoutError, httpx.HTTPError, PrefectException) as error:
        logger.warning("that runs end with the site can't be told to Prefect: it counts against them (%r)", error)


async def _note(client: PrefectClient, runs: list[UUID]) -> None:
    limit = asyncio.Semaphore(_AT_ONCE)

    async def count(run: FlowRun) -> None:
        async with limit:
            await client.update_flow_run_labels(run.id, {LABEL: planned_ends(run) + 1})

    for start in range(0, len(runs), _PAGE):
        wanted = FlowRunFilter(id=FlowRunFilterId(any_=runs[start : start + _PAGE]))
        await asyncio.gather(*(count(run) for run in await client.read_flow_runs(flow_run_filter=wanted)))


def planned_ends(run: FlowRun) -> int:
    """Return how often a run was ended with its site."""
    count = run.labels.get(LABEL, 0)
    return count if isinstance(count, int) else 0


def deaths(run: FlowRun, states: Iterable[State]) -> int:
    """Return how often a run has died, by its states, otherwise than with a site that was stopped."""
    return max(0, sum(state.is_crashed() for state in states) - planned_ends(run))
