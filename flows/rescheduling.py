"""Have a flow run that has ended start once more, once however many ask for it at the same time."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import IO, TYPE_CHECKING, Final
from uuid import UUID

from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry

from blocks.home_folder import TAKING_UP_LOCK
from blocks.settings import get_settings

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, State

NEITHER_DONE_NOR_UNDER_WAY: Final = frozenset({StateType.FAILED, StateType.CRASHED, StateType.CANCELLED})


def has_ended_badly(state: State | None) -> bool:
    """Tell whether a run in this state neither is done nor comes to its end by itself."""
    return state is not None and state.type in NEITHER_DONE_NOR_UNDER_WAY


async def why_not_startable(client: PrefectClient, run: FlowRun) -> str | None:
    """Say why no worker could start a run once more; None: one can."""
    if run.deployment_id is None:  # started by hand, by calling the flow
        return "has no deployment, so no worker can start it again"
    try:
        deployment = await client.read_deployment(run.deployment_id)
    except ObjectNotFound:
        return "is of a deployment that is gone, so no worker can start it again"
    if deployment.work_pool_name is not None and run.work_queue_id is None:
        return "is of a work queue that is gone, so no worker can start it again"
    return None


async def start_again(
    client: PrefectClient, run_id: UUID, why: str, allows: Callable[[State | None], bool] = has_ended_badly
) -> State | None:
    """Schedule a run anew if its state still allows it.

    Parameters
    ----------
    why
        What its state says then.
    allows
        Whether a run in a state may be scheduled anew; asked while nobody else on this machine does the same.

    Returns
    -------
    State | None
        The state that didn't allow it; None: it's scheduled.
    """
    async with _one_at_a_time():
        state = (await client.read_flow_run(run_id)).state
        if not allows(state):
            return state
        # By force: a state that Prefect's rules let nobody leave, such as Running, is that of a process that is gone
        await client.set_flow_run_state(run_id, AwaitingRetry(message=why), force=True)
    return None


@asynccontextmanager
async def _one_at_a_time() -> AsyncIterator[None]:
    """Let one process of the site at a time see a state and change it: Prefect's API can't do both in one."""
    with await asyncio.to_thread(_open_lock) as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        yield


def _open_lock() -> IO[bytes]:
    """Open the file of the lock; who may only read in the home, such as a second operator, may lock it all the same."""
    file = get_settings().home / TAKING_UP_LOCK
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return file.open("ab")
    except PermissionError:
        if not file.exists():  # `plaza up` makes it in homes that have a group
            raise
        return file.open("rb")
