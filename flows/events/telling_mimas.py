"""Tell Mimas what happened to a data collection: now, or as soon as its site is back."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from blocks.identifiers import Dcid
from blocks.validation_faults import describe
from flows.events.event import CollectionEvent, EventKind
from flows.events.sending import EventRefused, SendingRefused
from flows.events.submitting import Told, keep_and_send


async def tell_mimas(
    event: EventKind, dcid: Dcid, parameters: dict[str, Any] | None = None, *, guid: str | None = None
) -> Told:
    """Tell Mimas that a data collection, or its group, started or ended; what can't be sent now is kept for the site.

    The event is on the disk before anything else is done, and sent behind those that wait already: neither a crash of
    this program nor one of the server loses it, and the order stays.

    Raises
    ------
    EventRefused
        There can be no such event: Mimas takes no such dcid.
    EventNotKept
        It can't be sent now and there is no home of a site to keep it in, or its disk is full.
    """
    try:
        told = CollectionEvent.now(event, dcid, parameters, guid=guid)
    except ValidationError as error:
        raise EventRefused(
            f"there is no {event} of data collection {dcid!r:.60}: {describe(error, most=3)}. "
            "Send it with the id that the collection has in ISPyB"
        ) from error
    try:
        return await keep_and_send(told)
    except SendingRefused as error:
        raise EventRefused(str(error)) from error
