"""Have the site's runs come to their ends before it goes down: those under way are waited for, no more are taken."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import IO, TYPE_CHECKING, Final

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType

from flows.prefect_outages import is_outage, unavailable
from flows.site.running_site import STOPPING_FILE, WORK_POOL
from flows.site.supervision import SiteGoesDown, Supervisor

if TYPE_CHECKING:
    from pathlib import Path

    from prefect.client.orchestration import PrefectClient

POLL_S: Final = 0.5
DRAINING_FILE: Final = "run/draining"
"""In the home folder; says whether it's drains that have paused the work pool."""

_UNDER_WAY: Final = FlowRunFilter(
    state=FlowRunFilterState(
        type=FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING, StateType.CANCELLING])
    )
)


async def drain(home: Path, patience_s: float, tell: Callable[[int], None]) -> int:
    """Wait for the runs under way, then stop the worker; what still runs is ended and reported by it.

    Until then the site's work pool is paused: runs that are asked for meanwhile are scheduled, and begin when the site
    is up again. Interrupted, the site goes on as before. Several at once wait each for as long as it may.

    Parameters
    ----------
    home
        The site's home folder.
    patience_s
        How long to wait at most, in seconds.
    tell
        Called with how many runs are under way whenever that changes; at 200, there may be more.

    Returns
    -------
    int
        How many runs hadn't come to their ends.

    Raises
    ------
    PrefectUnavailable
        Prefect's API doesn't answer.
    ServiceFailed
        The worker can't be stopped.
    """
    try:
        async with get_client() as client, _paused(client, home):
            left = await _await_ends(client, patience_s, tell)
            await asyncio.to_thread(_stop_worker, home)
    except httpx.HTTPError as error:
        if not is_outage(error):
            raise
        raise unavailable(error) from error
    return left


async def _await_ends(client: PrefectClient, patience_s: float, tell: Callable[[int], None]) -> int:
    loop = asyncio.get_running_loop()
    deadline, told = loop.time() + patience_s, 0
    pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[WORK_POOL]))
    while count := len(await client.read_flow_runs(flow_run_filter=_UNDER_WAY, work_pool_filter=pool)):
        if count != told:
            tell(count)
            told = count
        if loop.time() > deadline:
            break
        await asyncio.sleep(POLL_S)
    return count


async def open_after_drains(home: Path) -> bool:
    """Open the site's work pool if a drain that was killed has left it paused; returns whether that was so.

    One that a person has paused stays so.
    """
    if not (home / DRAINING_FILE).exists():
        return False
    with (home / DRAINING_FILE).open("r+") as note:
        async with get_client() as client:
            return await _open_if_last(client, note)


@asynccontextmanager
async def _paused(client: PrefectClient, home: Path) -> AsyncIterator[None]:
    """Have the site's work pool give no runs to its worker; after the last drain it's as it was.

    A file says that drains have paused it, and is locked by each while it lasts: the kernel sees to that one which is
    killed holds it no longer.
    """
    with (home / DRAINING_FILE).open("a+") as note:
        await asyncio.to_thread(fcntl.flock, note, fcntl.LOCK_SH)
        try:
            if not (await client.read_work_pool(WORK_POOL)).is_paused:
                _note(note, "paused")
                await client.update_work_pool(WORK_POOL, WorkPoolUpdate(is_paused=True))
            yield
        finally:
            await _open_if_last(client, note)


async def _open_if_last(client: PrefectClient, note: IO[str]) -> bool:
    """Open the work pool if it's drains that have paused it, and none of them goes on."""
    try:
        fcntl.flock(note, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    note.seek(0)
    if not note.read():
        return False
    await client.update_work_pool(WORK_POOL, WorkPoolUpdate(is_paused=False))
    _note(note, "")
    return True


def _note(note: IO[str], words: str) -> None:
    note.seek(0)
    note.truncate()
    note.write(words)
    note.flush()


def _stop_worker(home: Path) -> None:
    file = home / STOPPING_FILE
    file.touch()  # else it would leave what it has to the next worker
    try:
        with suppress(SiteGoesDown):  # somebody else has all of it stopped, which is what's wanted
            Supervisor(home).stop("worker")
    finally:
        file.unlink(missing_ok=True)
