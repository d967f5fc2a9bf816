"""A recipe as a Prefect flow: a task run per node, what it reads, what it reports."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from prefect import Flow, Task
from prefect.artifacts import (
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from prefect.states import Completed, Failed

from blocks.errors import PlazaError, RecipeError
from blocks.settings import get_settings
from flows.recipe.engine import NodeRecord, RecipeRun
from flows.recipe.language import read_recipe
from flows.recipe.parameters import recipe_parameters
from flows.recipe.substitution import fill_recipe
from tasks.resources import Resources

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from prefect.client.schemas.objects import State

logger = logging.getLogger(__name__)

PROGRESS_INTERVAL_S = 2.0  # a change costs the server some 30 ms
API_PATIENCE_S = 1800.0
API_PAUSE_S = 1.0  # beside the minute for which Prefect's client tries by itself


def recipe_flow(name: str, path: Path) -> Flow[..., Any]:
    """Make the flow that runs a recipe file.

    Parameters
    ----------
    name
        The flow's name: the recipe's.
    path
        The recipe file; read at each run, so that a changed recipe needs no restart.
    """

    async def run_recipe(dcid: int | None = None, parameters: dict[str, Any] | None = None) -> State[Any]:
        """Run the recipe for a data collection.

        Parameters
        ----------
        dcid
            The data collection. Its parameters are read from ISPyB unless `parameters` holds them already.
        parameters
            What fills the recipe's placeholders, beside what ISPyB says.
        """
        return await _run(name, path, dcid, parameters or {})

    run_recipe.__name__ = name.replace("-", "_")
    return Flow(
        run_recipe,
        name=name,
        description=f"Recipe {path.name}",
        flow_run_name=f"{name} · dcid {{dcid}}",
        validate_parameters=True,
        persist_result=False,
    )


async def _run(name: str, path: Path, dcid: int | None, parameters: Mapping[str, Any]) -> State[Any]:
    recipe_run = _recipe_run_id()
    async with Resources() as resources:
        try:
            recipe = read_recipe(path)
            known = await recipe_parameters(dcid, parameters, recipe_run, resources)
            run = RecipeRun(fill_recipe(recipe, known), recipe_run, resources, run_node=_as_task_run)
        except PlazaError as error:  # the reason is all that an operator needs, so no traceback
            logger.error("recipe %s can't start: %s", name, error)
            return Failed(message=f"{type(error).__name__}: {error}")
        logger.info("recipe %s for dcid %s: recipe run %s", name, dcid, recipe_run)
        async with _progress_artifact(name, run):
            records = await run.run()
    await _report(records)
    faults = [f"step {record.label}: {record.fault}" for record in records.values() if record.fault]
    if faults:
        kept = _keep_refused(recipe_run, run)
        return Failed(message="; ".join(faults) + (f" (refused messages: {kept})" if kept else ""))
    return Completed(message=f"{sum(record.started is not None for record in records.values())} steps done")


def _recipe_run_id() -> str:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise RecipeError("a recipe's flow runs under Prefect only; for a single step there is `plaza step run`")
    return str(context.flow_run.id)


async def _as_task_run(record: NodeRecord, work: Callable[[], Awaitable[None]]) -> None:
    """Do a node's work as a Prefect task run of its name."""

    async def node() -> State[Any]:
        await work()
        if record.fault:
            return Failed(message=record.fault)
        return Completed(message=f"{record.received} messages in, {sum(record.sent.values())} out")

    # without arguments: Prefect would try to hash channels
    task: Task[..., Any] = Task(
        node, name=record.label, task_run_name=record.label, cache_policy=NO_CACHE, persist_result=False
    )
    await task(return_state=True)


@asynccontextmanager
async def _progress_artifact(name: str, run: RecipeRun) -> AsyncIterator[None]:
    """Keep a progress artifact that follows the step which has the most to do, now and then."""
    finished = asyncio.Event()
    reporter = asyncio.create_task(_report_progress(name, run, finished))
    try:
        yield
    finally:
        finished.set()
        await reporter


async def _report_progress(name: str, run: RecipeRun, finished: asyncio.Event) -> None:
    artifact, shown = None, -1.0
    while not finished.is_set():
        try:
            await asyncio.wait_for(finished.wait(), PROGRESS_INTERVAL_S)
        except TimeoutError:
            logger.debug("%s goes on", name)
        percent = _percent(run.records)
        if percent is None or (finished.is_set() and artifact is None) or percent == shown:
            continue  # nothing to count, or over before anybody could look
        try:
            if artifact is None:
                artifact = await acreate_progress_artifact(
                    percent, key="recipe-progress", description=f"Images handled by {name}"
                )
            else:
                await aupdate_progress_artifact(artifact, percent)
        except httpx.HTTPError as error:  # the work goes on, seen or not
            logger.warning("the progress of %s can't be shown: %s", name, error)
        else:
            shown = percent


def _percent(records: Mapping[int, NodeRecord]) -> float | None:
    """How far the images have come: what share of them is there, and what share of those has been handled."""
    there = [record.done / record.expected for record in records.values() if record.expected]
    if not there:
        return None
    handled = [record.done / record.received for record in records.values() if record.done and not record.expected]
    return round(100 * min(there) * min(handled, default=1.0), 1)


async def _report(records: Mapping[int, NodeRecord]) -> None:
    """Publish what each step did.

    Waits for Prefect's API if it's away: the work is done, but the run's end, which comes next, has to be told there.
    """
    deadline = time.monotonic() + API_PATIENCE_S
    while True:
        try:
            await acreate_table_artifact(
                _step_table(records), key="recipe-steps", description="What each step of the recipe did"
            )
        except httpx.HTTPError as error:
            logger.warning("what the steps did can't be published: %s", error)
            if isinstance(error, httpx.TransportError) and time.monotonic() < deadline:
                await asyncio.sleep(API_PAUSE_S)
                continue
        return


def _step_table(records: Mapping[int, NodeRecord]) -> list[dict[str, Any]]:
    return [
        {
            "step": record.label,
            "state": record.state,
            "messages in": record.received,
            "messages out": ", ".join(f"{name or 'unnamed'} {count}" for name, count in record.sent.items()),
            "refused": len(record.refused),
            "seconds": round(record.finished - record.started, 2) if record.started and record.finished else "",
        }
        for record in records.values()
    ]


def _keep_refused(recipe_run: str, run: RecipeRun) -> Path | None:
    """Write the refused messages where they can be read again: nothing that was sent is lost."""
    refusals = list(run.refusals())
    if not refusals:
        return None
    path = get_settings().home / "recipe-runs" / recipe_run / "refused.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as lines:
        for refusal in refusals:
            line = {"node": refusal.node, "payload": refusal.payload, "reason": refusal.reason}
            lines.write(json.dumps(line, default=str) + "\n")
    return path
