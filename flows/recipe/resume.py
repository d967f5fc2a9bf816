"""Have Prefect start a flow run once more, as its UI's Retry does: a recipe run's, Mimas's, or another's."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import Enum
from typing import TYPE_CHECKING, Final
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound

from blocks.errors import PrefectUnavailable, RecipeRunBusy, UnknownRecipeRun
from flows.prefect_outages import is_outage
from flows.recipe.run_record.activity import is_at_work, is_work_left
from flows.recipe.run_record.folder import MOST_NAMED, RunFolder, run_folder
from flows.recipe.run_record.recipe_ids import runs_called
from flows.rescheduling import start_again, why_not_startable
from flows.run_marks import guid_tag

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, State

POLL_S: Final = 0.5
REAPING_S: Final = 15.0
"""How long a worker may take to report to Prefect that a process has died: 0.3 s where nothing else runs.

Reported later, it would undo what is set here.
"""
SEARCHED_RUNS: Final = 2000  # Prefect can't look for the start of an id: it's the newest runs that are asked for
_PAGE: Final = 200  # Prefect gives no more at once
_START_OF_ID: Final = re.compile(r"[0-9a-fA-F][0-9a-fA-F-]*")


class Answer(Enum):
    """What is done with a run that somebody wants taken up, in words for people."""

    STARTED = "goes on"
    RESUMED = "was paused, and goes on"
    AT_WORK = "is at work already"
    UNSEEN = (
        "is under way as far as Prefect knows, so it's left; whether a process has it is for the site's user to see, "
        "and to say `plaza resume` if none has"
    )
    SCHEDULED = "is scheduled already"
    LATE = "is scheduled already, and late: it waits for a worker (see `plaza status`)"
    BEING_CANCELLED = "is being cancelled: when that is done, it can be taken up"
    DONE = "is done: nothing is left to do"


def answer_to(state: State | None, *, has_process: bool | None, is_work_left: bool) -> Answer:
    """Decide what is done with a run.

    Parameters
    ----------
    state
        What Prefect calls it. Of a run that it calls running, or about to be, and that has no process, no worker has
        told what became of it.
    has_process
        Whether a process carries it out; None: who asks may not see that.
    is_work_left
        Whether its record has something left to do although it's done.
    """
    if state is None:
        return Answer.STARTED
    if state.type is StateType.PAUSED:
        # A process for the word; nobody, if suspended
        is_waiting = has_process is not False or state.state_details.pause_reschedule
        return Answer.RESUMED if is_waiting else Answer.STARTED
    if has_process:
        return Answer.BEING_CANCELLED if state.type is StateType.CANCELLING else Answer.AT_WORK
    if has_process is None and _seems_under_way(state):  # what has ended, or waits, needs no process
        return Answer.BEING_CANCELLED if state.type is StateType.CANCELLING else Answer.UNSEEN
    if state.type is StateType.SCHEDULED:
        return Answer.LATE if state.name == "Late" else Answer.SCHEDULED
    if state.type is StateType.COMPLETED and not is_work_left:
        return Answer.DONE
    return Answer.STARTED


async def find_flow_run(name: str) -> RunFolder:
    """Return where the record of the flow run is or would be whose id or recipe ID is, or starts with, a name.

    Raises
    ------
    UnknownRecipeRun
        There is none among this home's recipe runs and Prefect's newest runs, or more than one.
    PrefectUnavailable
        Prefect's API can't be reached.
    """
    start, id_ = name.lower(), _whole_id(name)
    if id_ is not None and run_folder(id_).path.is_dir():
        return run_folder(id_)
    found = set(runs_called(name)[0])
    async with _client() as client:
        if not found:  # what hasn't begun is called so in Prefect only
            found = await _tagged(client, guid_tag(name))
        if not found and id_ is not None:  # Mimas's, or one that hasn't begun
            return run_folder(id_)
        if not found and _START_OF_ID.fullmatch(start):
            found = {path.name for path in run_folder("").path.glob(f"{start}*")}
            found |= {id_ async for id_ in _newest_ids(client) if id_.startswith(start)}
    if not found:
        raise UnknownRecipeRun(
            f"no recipe run {name!r:.200} in {run_folder('').path}, nor among the newest {SEARCHED_RUNS} flow runs of "
            "Prefect: expected its id or its recipe ID (guid), or the start of one"
        )
    if len(found) > 1:
        names = ", ".join(sorted(found)[:MOST_NAMED])
        raise UnknownRecipeRun(f"{len(found)} flow runs are called {name!r:.200} or so, {names}: say which")
    return run_folder(found.pop())


def _whole_id(name: str) -> str | None:
    try:
        return str(UUID(name))
    except ValueError:
        return None


async def _tagged(client: PrefectClient, name: str) -> set[str]:
    runs = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[name])),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=_PAGE,
    )
    return {str(run.id) for run in runs}


async def _newest_ids(client: PrefectClient) -> AsyncIterator[str]:
    for offset in range(0, SEARCHED_RUNS, _PAGE):
        page = await client.read_flow_runs(sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=_PAGE, offset=offset)
        for run in page:
            yield str(run.id)
        if len(page) < _PAGE:
            return


async def schedule_again(folder: RunFolder, has_process: Callable[[], bool | None] | None = None) -> str:
    """Have a flow run taken up again, if anything is left to do.

    Parameters
    ----------
    folder
        Where the record of a recipe run is; of another flow run, or one that hasn't begun, nothing is there.
    has_process
        Tells whether a process carries the run out, where its record doesn't say so (yet); None: who asks may not
        see that.

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

    def is_carried_out() -> bool | None:
        return is_at_work(folder) or (has_process is not None and has_process())

    async with _client() as client:
        run = await _read_startable_run(client, folder)
        name = f"{'recipe ' if folder.journal.exists() else ''}run {folder.recipe_run} ({run.name})"
        if is_at_work(folder) and folder.has_reinjected:
            return f"{name} is at work: it takes what was re-injected when it has done the rest"
        run = await _await_report(client, run, is_carried_out)
        answer = await _take_up(client, run, folder, is_carried_out())
    if answer is Answer.DONE:
        assert run.state is not None
        return f"{name} is {run.state.name}: nothing is left to do"
    return f"{name} {answer.value}"


async def _take_up(client: PrefectClient, run: FlowRun, folder: RunFolder, has_process: bool | None) -> Answer:
    """Do with a run what its state asks for, and say what that is."""

    def answer(state: State | None) -> Answer:
        has_left = folder.journal.exists() and is_work_left(folder)
        return answer_to(state, has_process=has_process, is_work_left=has_left)

    if (first := answer(run.state)) is Answer.RESUMED:
        await client.resume_flow_run(run.id)
    if first is not Answer.STARTED:
        return first
    # Another may have been quicker
    state = await start_again(client, run.id, "taken up again by plaza", lambda state: answer(state) is Answer.STARTED)
    return Answer.STARTED if state is None else answer(state)


async def await_end(folder: RunFolder, timeout_s: float) -> FlowRun:
    """Wait for the end of a flow run and return it.

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
    """Check that a recipe run can be repeated: it has a record, and no process has it.

    Raises
    ------
    UnknownRecipeRun
        It has no record: it hasn't begun, or it's no recipe's.
    RecipeRunBusy
        A process has it.
    """
    if not folder.manifest.exists():
        raise UnknownRecipeRun(
            f"run {folder.recipe_run} has no record of what its nodes did ({folder.path}), so none can be repeated; "
            f"`plaza resume {folder.recipe_run}` has all of it run"
        )
    if is_at_work(folder):
        raise RecipeRunBusy(f"recipe run {folder.recipe_run} is at work: cancel it first, or wait for its end")


async def _read_run(client: PrefectClient, folder: RunFolder) -> FlowRun:
    try:
        return await client.read_flow_run(UUID(folder.recipe_run))
    except (ObjectNotFound, ValueError) as error:
        recorded = f"what was recorded of it is in {folder.path}" if folder.path.exists() else "is it another site's?"
        raise UnknownRecipeRun(
            f"Prefect has no flow run {folder.recipe_run} (any more), so it can't be started again; {recorded}"
        ) from error


async def _read_startable_run(client: PrefectClient, folder: RunFolder) -> FlowRun:
    run = await _read_run(client, folder)
    if reason := await why_not_startable(client, run):
        raise UnknownRecipeRun(f"flow run {folder.recipe_run} ({run.name}) {reason}")
    return run


async def _await_report(client: PrefectClient, run: FlowRun, is_carried_out: Callable[[], bool | None]) -> FlowRun:
    """Wait until a run that has no process any more isn't called running, but not for ever: its worker may be gone."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + REAPING_S
    while _seems_under_way(run.state) and is_carried_out() is False and loop.time() < deadline:
        await asyncio.sleep(POLL_S)
        run = await client.read_flow_run(run.id)
    return run


def _seems_under_way(state: State | None) -> bool:
    return state is not None and state.type in {StateType.PENDING, StateType.RUNNING, StateType.CANCELLING}


@asynccontextmanager
async def _client() -> AsyncIterator[PrefectClient]:
    try:
        async with get_client() as client:
            yield client
    except httpx.HTTPError as error:
        if not is_outage(error):
            raise
        raise PrefectUnavailable(
            f"Prefect's API can't be reached ({error!r}): is the site up? See `plaza status`"
        ) from error
