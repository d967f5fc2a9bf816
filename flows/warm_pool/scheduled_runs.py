"""Watch Prefect's events for runs that want something of the worker, rather than ask for them all the time.

Asking five times a second cost a fifth of a core on the server. Events are best effort, so the worker goes on asking
now and then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter

logger = logging.getLogger(__name__)

SCHEDULED = "prefect.flow-run.Scheduled"
ASKED_TO_STOP = ("prefect.flow-run.Cancelling", "prefect.flow-run.Suspended")
RECONNECT_S = 2.0  # always, without jitter: a site has one worker, and nothing to give up for


async def watch_runs(reactions: Mapping[str, Callable[[], Awaitable[object]]]) -> None:
    """React whenever a flow run comes to a state, until cancelled; faults are outlived, and logged once each outage.

    Parameters
    ----------
    reactions
        What is called, by the name of the event: whichever run it is, and whether it's ours, the call finds out.
    """
    wanted = EventFilter(event=EventNameFilter(name=[*reactions]))
    is_away = False
    while True:
        try:
            async with get_events_subscriber(filter=wanted, reconnect_on_clean_close=True) as events:
                if is_away:
                    logger.warning("runs are watched again")
                is_away = False
                async for event in events:
                    await reactions[event.event]()
        except Exception as error:  # whatever the connection or the API comes up with: asking goes on meanwhile
            if not is_away:
                logger.warning("can't watch runs (%s): they start and end a little later until that works", error)
            is_away = True
        await asyncio.sleep(RECONNECT_S)
