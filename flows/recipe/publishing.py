"""What Prefect's UI shows of a recipe run beside its task runs: tags, and artifacts that say how far it has come."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, Final, Protocol

import httpx
from prefect.artifacts import MarkdownArtifact, ProgressArtifact, TableArtifact
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException

from blocks.retrying import Pauses, retry
from flows.display_text import one_line
from flows.prefect_limits import page_text
from flows.prefect_outages import is_outage
from flows.recipe.run_record.progress import NodeProgress
from flows.run_artifacts import RunArtifact
from tasks.step.notes import Notes

logger = logging.getLogger(__name__)

PROGRESS_INTERVAL_S = 2.0  # a change costs the server some 30 ms
FIRST_PAGE_S = 1.0  # a run that is over by then is told of once
PAGE_INTERVAL_S = 5.0
NOT_YET_DONE: Final = 99.9  # percent: 100 is said of runs that have done all
PAGE_SHARE: Final = 0.02  # of a run's time: a run of hours is looked at less often
API_PATIENCE_S = 1800.0
API_PAUSES = Pauses(first_s=1.0, longest_s=5.0)  # beside the minute for which Prefect's client tries by itself


class Page(Protocol):
    """What is to be read of a run, in Markdown. Its methods are called in threads."""

    def prepare(self) -> None:
        """Do what can be done before it's known how far the run will come."""
        ...

    def write(self, progress: Mapping[int, NodeProgress], /) -> str:
        """Write it, from a copy of the progress."""
        ...


@asynccontextmanager
async def published(
    name: str, progress: Mapping[int, NodeProgress], page: Page, tags: Sequence[str] = ()
) -> AsyncIterator[None]:
    """Show in Prefect's UI what a run is for, how it goes on and, when it's over, what each step did.

    Waits at the end for Prefect's API if that is away: the work is done, but the run's end, which comes next, has to
    be told there.

    Parameters
    ----------
    name
        The recipe's.
    progress
        Of each node by its number; it changes while the run goes on.
    page
        What is to be read of the run.
    tags
        By which people find it: those that who started it hasn't given it.
    """
    over = asyncio.Event()
    reporters = [
        asyncio.create_task(_report_progress(name, progress, over)),
        asyncio.create_task(_report_page(name, progress, page, over)),
        asyncio.create_task(tag_run(tags)),
    ]
    try:
        yield
        over.set()
        # Together: the run's end waits for these calls of the API
        await asyncio.gather(_publish_steps(progress), *reporters)
    finally:
        for reporter in reporters:
            reporter.cancel()
        await asyncio.gather(*reporters, return_exceptions=True)


async def tag_run(tags: Sequence[str]) -> None:
    """Give the run those of the tags that it lacks."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or set(tags) <= set(context.flow_run.tags):
        return
    run_id = context.flow_run.id

    async def tag() -> None:
        async with get_client() as client:
            run = await client.read_flow_run(run_id)  # somebody may have given it tags meanwhile
            await client.update_flow_run(run_id, tags=list(dict.fromkeys([*run.tags, *tags])))

    try:
        await _publish_patiently("the tags of the run", tag)
    except PrefectException as error:  # such as that the run has been deleted
        logger.warning("the run can't be given its tags %s: %s", ", ".join(tags), error)


async def _report_progress(name: str, progress: Mapping[int, NodeProgress], over: asyncio.Event) -> None:
    """Keep a progress artifact that follows the step which has the most to do, now and then, and at the end."""
    artifact = RunArtifact(
        "recipe-progress",
        lambda percent: ProgressArtifact(
            key="recipe-progress", description=f"Images handled by {name}", progress=percent
        ),
    )
    shown: float | None = None

    async def begin() -> None:
        nonlocal shown
        if (stood := await artifact.value()) is not None:
            shown = float(stood)
            await show(min(shown, NOT_YET_DONE))

    async def show(percent: float | None) -> None:
        nonlocal shown
        if percent is not None and percent != shown:
            await artifact.show(percent)
            shown = percent

    await _publish_patiently("the progress of the run", begin)
    while not await _is_over(over, PROGRESS_INTERVAL_S):
        try:
            await show(percent_done(progress))
        except httpx.HTTPError as error:  # the work goes on, seen or not
            logger.warning("the progress of %s can't be shown: %s", name, error)
    if shown is not None:
        await _publish_patiently("the progress of the run", lambda: show(percent_at_end(progress)))


def percent_done(progress: Mapping[int, NodeProgress]) -> float | None:
    """How far the images have come: what share of them is there, and what share of those has been handled.

    None if no step counts any. Never 100, which is said when all is done: what was counted before the run was taken up
    may be counted again.
    """
    there = [node.done / node.expected for node in progress.values() if node.expected]
    if not there:
        return None
    handled = [node.done / node.received for node in progress.values() if node.done and not node.expected]
    return min(round(100 * min(there) * min(handled, default=1.0), 1), NOT_YET_DONE)


def percent_at_end(progress: Mapping[int, NodeProgress]) -> float | None:
    """How far the images have come in a run that is over: 100 if it has no fault."""
    percent = percent_done(progress)
    return percent if any(node.fault for node in progress.values()) else 100.0


async def _report_page(name: str, progress: Mapping[int, NodeProgress], page: Page, over: asyncio.Event) -> None:
    """Keep the run's page up to date, now and then while something happens, and at the end."""
    artifact = RunArtifact(
        "recipe-run",
        lambda text: MarkdownArtifact(
            key="recipe-run", description=f"Graph, steps and parameters of {name}", markdown=text
        ),
    )
    began, pause, shown = time.monotonic(), FIRST_PAGE_S, None

    async def show() -> None:
        await artifact.show(page_text(await asyncio.to_thread(page.write, _copied(progress))))

    try:
        await asyncio.to_thread(page.prepare)
        while not await _is_over(over, pause):
            pause = max(PAGE_INTERVAL_S, PAGE_SHARE * (time.monotonic() - began))
            if (now := _what_happened(progress)) != shown:
                try:
                    await show()
                except httpx.HTTPError as error:  # the next page says the same and more
                    logger.warning("the page of %s can't be shown: %s", name, error)
                else:
                    shown = now
        await _publish_patiently("the page of the run", show)
    except Exception:  # whatever is wrong with the page, the run is not
        logger.exception("the page of %s can't be shown", name)


def _copied(progress: Mapping[int, NodeProgress]) -> dict[int, NodeProgress]:
    return {number: replace(node, sent=node.sent.copy(), notes=Notes(node.notes)) for number, node in progress.items()}


def _what_happened(progress: Mapping[int, NodeProgress]) -> list[tuple[object, ...]]:
    return [
        (node.state, node.received, node.sent.total(), node.retried, node.left, len(node.notes))
        for node in progress.values()
    ]


async def _publish_steps(progress: Mapping[int, NodeProgress]) -> None:
    """Publish what each step did."""
    artifact = RunArtifact(
        "recipe-steps",
        lambda table: TableArtifact(key="recipe-steps", description="What each step of the recipe did", table=table),
    )
    await _publish_patiently("what the steps did", lambda: artifact.show(_step_table(progress)))


async def _publish_patiently(what: str, call: Callable[[], Awaitable[None]]) -> None:
    """Call Prefect's API; wait for it if it's away."""

    async def once() -> None:
        try:
            await call()
        except httpx.HTTPError as error:
            logger.warning("%s can't be published: %s", what, error)
            raise

    with suppress(httpx.HTTPError):  # logged already; the work is done whether Prefect shows it or not
        await retry(once, is_outage, API_PAUSES, patience_s=API_PATIENCE_S)


async def _is_over(over: asyncio.Event, pause_s: float) -> bool:
    """Wait for some seconds, or until the run is over, and tell whether it is."""
    try:
        await asyncio.wait_for(over.wait(), pause_s)
    except TimeoutError:
        return False
    return True


def _step_table(progress: Mapping[int, NodeProgress]) -> list[dict[str, Any]]:
    return [
        {
            "step": node.label,
            "state": node.state,
            "messages in": node.received,
            "messages out": ", ".join(f"{name or 'unnamed'} {count}" for name, count in node.sent.items()),
            "tried again": node.retried,
            "refused": node.refused,
            "left undone": node.left,
            "notes": one_line("; ".join(node.notes.lines())),
            "seconds": round(node.finished - node.started, 2) if node.started and node.finished else "",
        }
        for node in progress.values()
    ]
