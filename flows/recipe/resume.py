"""Have Prefect start the flow run of a recipe run once more, as its UI's Retry does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry

from blocks.errors import PrefectUnavailable, RecipeRunBusy, UnknownRecipeRun
from flows.recipe.run_record.activity import is_at_work, is_work_left
from flows.recipe.run_record.folder import RunFolder

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

POLL_S: Final = 0.5
REAPING_S: Final = 15.0
"""How long a worker may take to report to Prefect that a process has died: 0.3 s where nothing else runs.

Reported later, it would undo what is set here.
"""


async def schedule_again(folder: RunFolder) -> str:
    """Have a recipe run taken up again, if anything is left to do.

    Returns
    -------
    str
        What will happen, for people.

    Raises
    ------
    UnknownRecipeRun
        Prefect doesn't have its flow run any more, or can't start it.
    PrefectUnavailable
        Prefect's API can't be reached.
    """
    async with _client() as client:
        run = await _read_run(client, folder)
        if is_at_work(folder):
            then = ": it takes what was re-injected when it has done the rest" if folder.has_reinjected else " already"
            return f"recipe run {folder.recipe_run} is at work{then}"
        run = await _await_reaping(client, run)
        if run.state is not None and run.state.is_scheduled():
            return f"recipe run {folder.recipe_run} is scheduled already"
        if run.state is not None and run.state.is_completed() and not is_work_left(folder):
            return f"recipe run {folder.recipe_run} ({run.name}) is {run.state.name}: nothing is left to do"
        await client.set_flow_run_state(run.id, AwaitingRetry(message="taken up again by plaza"), force=True)
    return f"recipe run {folder.recipe_run} ({run.name}) goes on"


async def await_end(folder: RunFolder, timeout_s: float) -> FlowRun:
    """Wait for the end of a recipe run and return its flow run.

    Raises
    ------
    TimeoutError
        It takes longer than `timeout_s` seconds.
    UnknownRecipeRun
        Prefect doesn't have its flow run any more.
    PrefectUnavailable
        Prefect's API can't be reached.
    """
    async with _client() as client, asyncio.timeout(timeout_s):
        while True:
            run = await _read_run(client, folder)
            if run.state is not None and run.state.is_final() and not is_at_work(folder):
                return run
            await asyncio.sleep(POLL_S)


def check_not_at_work(folder: RunFolder) -> None:
    """Check that no process has the run.

    Raises
    ------
    RecipeRunBusy
        One has.
    """
    if is_at_work(folder):
        raise RecipeRunBusy(f"recipe run {folder.recipe_run} is at work: cancel it first, or wait for its end")


async def _read_run(client: PrefectClient, folder: RunFolder) -> FlowRun:
    try:
        run = await client.read_flow_run(UUID(folder.recipe_run))
    except (ObjectNotFound, ValueError) as error:
        raise UnknownRecipeRun(
            f"Prefect has no flow run {folder.recipe_run} (any more), so it can't be started again; "
            f"what was recorded of it is in {folder.path}"
        ) from error
    if run.deployment_id is None:  # started by hand, by calling the flow
        raise UnknownRecipeRun(f"flow run {folder.recipe_run} has no deployment, so no worker can start it again")
    return run


async def _await_reaping(client: PrefectClient, run: FlowRun) -> FlowRun:
    """Wait until a run that has no process any more isn't called running, but not for ever: its worker may be gone."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + REAPING_S
    while run.state is not None and (run.state.is_running() or run.state.is_pending()) and loop.time() < deadline:
        await asyncio.sleep(POLL_S)
        run = await client.read_flow_run(run.id)
    return run


@asynccontextmanager
async def _client() -> AsyncIterator[PrefectClient]:
    try:
        async with get_client() as client:
            yield client
    except httpx.TransportError as error:
        raise PrefectUnavailable(
            f"Prefect's API can't be reached ({error!r}): is the site up? See `plaza status`"
        ) from error
