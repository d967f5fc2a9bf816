"""Follow the flow runs of some data collections on Prefect's server.

Prefect is imported when it's asked: it reads its environment then, and that is known once the site is up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx

from blocks.errors import PlazaError
from blocks.identifiers import Dcid

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

logger = logging.getLogger(__name__)

POLL_S = 0.5


class NoProgress(PlazaError, TimeoutError):
    """Runs that were asked for don't get on."""


@dataclass(frozen=True)
class WatchedRun:
    """A flow run as an onlooker sees it.

    `percent` is how far its images have been handled, None where it doesn't count any; times are in seconds.
    """

    id: UUID
    name: str
    dcid: Dcid
    state: str
    message: str
    is_final: bool
    waited_s: float
    ran_s: float
    percent: float | None

    @property
    def is_mimas(self) -> bool:
        """Whether this is a decision, not a recipe."""
        return self.name.startswith("mimas")


async def read_runs(client: PrefectClient, since: datetime, dcids: Collection[Dcid]) -> tuple[WatchedRun, ...]:
    """Read the flow runs of the data collections, in the order in which they were asked for."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterExpectedStartTime
    from prefect.client.schemas.sorting import FlowRunSort

    runs = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(expected_start_time=FlowRunFilterExpectedStartTime(after_=since)),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
    )
    # Prefect's API can't select by parameters
    ours = [run for run in runs if run.parameters.get("dcid") in dcids]
    percent = await _read_progress(client, [run.id for run in ours])
    return tuple(_watched(run, percent) for run in ours)


async def _read_progress(client: PrefectClient, runs: list[UUID]) -> dict[UUID, float]:
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey

    if not runs:
        return {}
    artifacts = await client.read_artifacts(
        artifact_filter=ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=runs), key=ArtifactFilterKey(any_=["recipe-progress"])
        )
    )
    return {
        artifact.flow_run_id: float(artifact.data)  # type: ignore[arg-type]  # of any type; of progress, a number
        for artifact in artifacts
        if artifact.flow_run_id
    }


def _watched(run: Any, percent: Mapping[UUID, float]) -> WatchedRun:
    return WatchedRun(
        id=run.id,
        name=run.name,
        dcid=run.parameters["dcid"],
        state=run.state_name or "Scheduled",
        message=(run.state.message if run.state else None) or "",
        is_final=bool(run.state and run.state.is_final()),
        waited_s=(run.start_time - run.expected_start_time).total_seconds() if run.start_time else 0.0,
        ran_s=run.estimated_run_time.total_seconds(),
        percent=percent.get(run.id),
    )


async def follow(
    client: PrefectClient,
    since: datetime,
    dcids: Collection[Dcid],
    *,
    events_expected: Callable[[], int],
    show: Callable[[tuple[WatchedRun, ...]], None],
    timeout_s: float,
) -> tuple[WatchedRun, ...]:
    """Show the runs of the data collections until all have ended, and return them.

    Parameters
    ----------
    client
        Prefect's.
    since
        When the first of the runs may have been asked for.
    dcids
        May grow while this goes on.
    events_expected
        How many events will have been told to Mimas, each of which makes a run of it; 0 while that isn't known.
    show
        Called with all runs, in the order in which they were asked for, whenever one has changed.
    timeout_s
        How long to wait for a change before giving up, in seconds.

    Raises
    ------
    NoProgress
        Nothing has changed for `timeout_s`; the message says what still runs.
    """
    loop = asyncio.get_running_loop()
    seen, changed = None, loop.time()
    while True:
        try:
            runs = await read_runs(client, since, dcids)
        except httpx.HTTPError as error:  # the site starts its server again
            logger.warning("Prefect's server doesn't answer: %s", error)
            runs = seen or ()
        if runs != seen:
            seen, changed = runs, loop.time()
            show(runs)
        decisions = sum(run.is_mimas for run in runs)
        if events_expected() and decisions >= events_expected() and all(run.is_final for run in runs):
            return runs
        if loop.time() - changed > timeout_s:
            waiting = ", ".join(f"{run.name} ({run.state})" for run in runs if not run.is_final) or "no run at all"
            raise NoProgress(
                f"nothing has happened for {timeout_s:.0f} s; not yet ended: {waiting}. See `plaza status`, and the "
                "folder logs of the home folder"
            )
        await asyncio.sleep(POLL_S)
