"""Tell Mimas what happened to a data collection: now, or as soon as its site is back."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from pydantic import ValidationError

from blocks.identifiers import Dcid
from blocks.validation_faults import describe
from flows.events.drop_folder.folder import drop_folder_at_hand
from flows.events.event import CollectionEvent, EventKind
from flows.events.sending import EventRefused, SendingRefused
from flows.events.submitting import Told, send_kept, send_unkept

logger = logging.getLogger(__name__)


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
    folder = drop_folder_at_hand()
    if folder is None:
        return await send_unkept(told, "there is no home of a site to keep it in")
    try:
        path = await asyncio.to_thread(folder.keep, told)
    except OSError as error:
        logger.warning("%s can't be kept in %s: %s", told, folder.path, error.strerror)
        return await send_unkept(told, f"it can't be kept in {folder.path} ({error.strerror})")
    try:
        return await send_kept(folder, told, path)
    except SendingRefused as error:
        raise EventRefused(str(error)) from error
