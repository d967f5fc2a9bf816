"""Take up all flow runs of the site that died with their process, their worker or their machine.

Prefect calls such a run Crashed: Plaza's worker reports so of each process that is gone, and Prefect's engine of one
that was asked to end. A flow that raises an exception of its own has Failed, and waits for somebody who looks at it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound

from blocks.settings import get_settings
from flows.prefect_outages import is_outage, unavailable
from flows.rescheduling import start_again, why_not_startable
from flows.site.running_site import WORK_POOL
from flows.warm_pool.planned_ends import deaths
from flows.warm_pool.pool_runs import read_pool_runs
from flows.warm_pool.run_processes import find_run_processes

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, State

MOST_DEATHS: Final = 5
"""A run that dies as often may be what kills its process, or its machine; ends with a site that's stopped don't count.
"""
REPORT_S: Final = 20.0
"""How long a worker that has just come up may take to report what it found dead: it leaves a run alone for 5 s."""
POLL_S: Final = 0.5
NOTHING: Final = "no interrupted run waits to be taken up"

_UNDER_WAY: Final = (StateType.PENDING, StateType.RUNNING)
# What Prefect's engine says of a flow that ended its process by itself
_ENDED_ITSELF: Final = "Execution was aborted by Python system exit call."


@dataclass(frozen=True)
class Interrupted:
    """A run that was interrupted, and what was done about it.

    Parameters
    ----------
    reason
        Why it's left as it is.
    by_other
        How it's called by now, if somebody else has taken it up meanwhile.
    """

    run: FlowRun
    reason: str = ""
    by_other: str = ""

    def __str__(self) -> str:
        done = f"left: {self.reason}" if self.reason else "taken up"
        if self.by_other:
            done = f"taken up by somebody else; it's {self.by_other}"
        return f"{self.run.id} ({self.run.name}) is {done}"


def summary(found: Sequence[Interrupted]) -> str:
    """Say in a line what was done about the runs that were found."""
    left = sum(bool(each.reason) for each in found)
    taken_up = len(found) - left - sum(bool(each.by_other) for each in found)
    said = [f"{taken_up} interrupted run{'s are' if taken_up != 1 else ' is'} taken up"] if taken_up else []
    said += [f"{left} {'are' if left != 1 else 'is'} left (see `plaza resume --interrupted`)"] if left else []
    return "; ".join(said) or NOTHING


def why_left(state: State | None, deaths: int) -> str | None:
    """Decide whether a run that is Crashed is taken up: say why not, or None."""
    if state is None or not state.is_crashed():
        return "it's not Crashed any more"
    if state.message == _ENDED_ITSELF:
        return "its flow ended its process by itself"
    if deaths >= MOST_DEATHS:
        return f"it has died {deaths} times"
    return None


def runs_with_process() -> Collection[UUID]:
    """Return the flow runs of this home's site that a process carries out."""
    return find_run_processes(get_settings().home.resolve()).runs


def has_process(flow_run_id: str) -> bool | None:
    """Tell whether a process of this home's site carries a flow run out; None: this user may not see its processes."""
    return UUID(flow_run_id) in runs_with_process() if _sees_processes() else None


def _sees_processes() -> bool:
    return os.geteuid() in {0, get_settings().home.stat().st_uid}


async def take_up_interrupted(within: timedelta) -> AsyncIterator[Interrupted]:
    """Take up the runs of the site that died lately: Mimas's first, then the oldest first.

    Called twice, at the same time too, it takes up each once.

    Parameters
    ----------
    within
        How long ago they may have died.

    Raises
    ------
    PrefectUnavailable
        Prefect's API doesn't answer.
    """
    try:
        async with get_client() as client:
            unreported = await _await_reports(client) if _sees_processes() else []
            for run in await _crashed_runs(client, within):
                yield await _take_up(client, run)
            for run in unreported:
                yield Interrupted(run, f"no process has it, but it's called {run.state_name}; `plaza resume {run.id}`")
    except httpx.HTTPError as error:
        if not is_outage(error):
            raise
        raise unavailable(error) from error


async def _take_up(client: PrefectClient, run: FlowRun) -> Interrupted:
    """Take up a run unless it's left as it is."""
    states = await client.read_flow_run_states(run.id)
    reason = why_left(run.state, deaths(run, states))
    if reason:
        return Interrupted(run, f"{reason}; `plaza resume {run.id}` takes it up all the same")
    if reason := await why_not_startable(client, run):
        return Interrupted(run, f"it {reason}")
    other = await start_again(
        client, run.id, "taken up again: it was interrupted", lambda state: state is not None and state.is_crashed()
    )
    return Interrupted(run, by_other="" if other is None else other.name or other.type.value)


async def _crashed_runs(client: PrefectClient, within: timedelta) -> list[FlowRun]:
    """Return the site's runs that crashed lately, in the order in which they are to go on."""
    crashed = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CRASHED])),
        end_time=FlowRunFilterEndTime(after_=datetime.now(UTC) - within),
    )
    runs = await read_pool_runs(client, WORK_POOL, crashed, FlowRunSort.EXPECTED_START_TIME_ASC)
    of_mimas = await _flow_of_mimas(client)
    # Those of Mimas first: they launch what else is to run
    return sorted(runs, key=lambda run: (run.flow_id != of_mimas, run.expected_start_time or run.created))


async def _await_reports(client: PrefectClient) -> list[FlowRun]:
    """Wait until the worker has reported the runs that have no process any more; return those that it hasn't."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + REPORT_S
    under_way = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[*_UNDER_WAY])))
    orphans = None
    while True:
        runs = await read_pool_runs(client, WORK_POOL, under_way, FlowRunSort.EXPECTED_START_TIME_ASC)
        # After the API was asked: what has been forked since then isn't among the runs
        carried_out = await asyncio.to_thread(runs_with_process)
        # Those of the first look: others are about to begin
        known = [run.id for run in (runs if orphans is None else orphans)]
        orphans = [run for run in runs if run.id in known and run.id not in carried_out]
        if not orphans or loop.time() > deadline:
            return orphans
        await asyncio.sleep(POLL_S)


async def _flow_of_mimas(client: PrefectClient) -> UUID | None:
    try:
        return (await client.read_flow_by_name("mimas")).id
    except ObjectNotFound:  # it isn't deployed here
        return None
