"""Watch Prefect's events for runs that are scheduled, rather than ask for runs all the time.

Asking five times a second cost a fifth of a core on the server. Events are best effort, so the worker goes on asking
now and then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter

logger = logging.getLogger(__name__)

SCHEDULED = "prefect.flow-run.Scheduled"
RECONNECT_S = 2.0  # always, without jitter: a site has one worker, and nothing to give up for


async def watch_scheduled_runs(look_for_runs: Callable[[], Awaitable[object]]) -> None:
    """Call `look_for_runs` whenever a flow run is scheduled, until cancelled; faults are logged and outlived."""
    scheduled = EventFilter(event=EventNameFilter(name=[SCHEDULED]))
    while True:
        try:
            async with get_events_subscriber(filter=scheduled, reconnect_on_clean_close=True) as events:
                async for _ in events:  # any: which run it is, and whether it's ours, the look itself finds out
                    await look_for_runs()
        except Exception as error:  # whatever the connection or the API comes up with: asking goes on meanwhile
            logger.warning("can't watch for scheduled runs (%s): runs start a little later until that works", error)
        await asyncio.sleep(RECONNECT_S)
