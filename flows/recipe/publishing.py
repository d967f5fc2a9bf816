"""What Prefect's UI shows of a recipe run beside its task runs: artifacts that say how far it has come."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
from prefect.artifacts import acreate_progress_artifact, acreate_table_artifact, aupdate_progress_artifact

from flows.recipe.records import NodeRecord

logger = logging.getLogger(__name__)

PROGRESS_INTERVAL_S = 2.0  # a change costs the server some 30 ms
API_PATIENCE_S = 1800.0
API_PAUSE_S = 1.0  # beside the minute for which Prefect's client tries by itself


@asynccontextmanager
async def progress_artifact(name: str, records: Mapping[int, NodeRecord]) -> AsyncIterator[None]:
    """Keep a progress artifact that follows the step which has the most to do, now and then."""
    finished = asyncio.Event()
    reporter = asyncio.create_task(_report_progress(name, records, finished))
    try:
        yield
    finally:
        finished.set()
        await reporter


async def _report_progress(name: str, records: Mapping[int, NodeRecord], finished: asyncio.Event) -> None:
    artifact, shown = None, -1.0
    while not finished.is_set():
        try:
            await asyncio.wait_for(finished.wait(), PROGRESS_INTERVAL_S)
        except TimeoutError:
            logger.debug("%s goes on", name)
        percent = percent_done(records)
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


def percent_done(records: Mapping[int, NodeRecord]) -> float | None:
    """How far the images have come: what share of them is there, and what share of those has been handled."""
    there = [record.done / record.expected for record in records.values() if record.expected]
    if not there:
        return None
    handled = [record.done / record.received for record in records.values() if record.done and not record.expected]
    return round(100 * min(there) * min(handled, default=1.0), 1)


async def publish_steps(records: Mapping[int, NodeRecord]) -> None:
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
            "tried again": record.retried,
            "refused": record.refused,
            "seconds": round(record.finished - record.started, 2) if record.started and record.finished else "",
        }
        for record in records.values()
    ]
