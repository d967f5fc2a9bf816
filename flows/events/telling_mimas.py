"""Tell Mimas what happened to a data collection: now, or as soon as its site is back."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

from pydantic import ValidationError

from blocks.identifiers import Dcid
from blocks.prefect_api import has_prefect_api
from blocks.retrying import Pauses, retry
from blocks.validation_faults import describe
from flows.events.delivery import Delivery
from flows.events.drop_folder import DropFolder, LockTaken, drop_folder_at_hand
from flows.events.event import CollectionEvent, EventKind
from flows.events.sending import EventRefused, MimasUnreachable, open_sender

logger = logging.getLogger(__name__)

PATIENCE_S: Final = 5.0  # a beamline doesn't wait longer
_PAUSES: Final = Pauses(first_s=0.2, longest_s=2.0)


class EventNotKept(MimasUnreachable):
    """An event can neither be sent now nor kept: somebody has to send it again."""


@dataclass(frozen=True)
class Told:
    """What became of an event: the run of Mimas that it made, or the file that keeps it until it can be sent.

    Neither is known if the site's worker has sent it at once.
    """

    flow_run_id: UUID | None = None
    kept: Path | None = None


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
        return await _send_now(told, "there is no home of a site to keep it in")
    try:
        path = await asyncio.to_thread(folder.keep, told)
    except OSError as error:
        logger.warning("%s can't be kept in %s: %s", told, folder.path, error.strerror)
        return await _send_now(told, f"it can't be kept in {folder.path} ({error.strerror})")
    return await _send_kept(folder, told, path)


async def _send_kept(folder: DropFolder, event: CollectionEvent, path: Path) -> Told:
    """Send what waits and the event behind it, unless that takes longer than a beamline may wait."""
    _import_prefect()
    sent: dict[Path, UUID] = {}
    why: Exception = MimasUnreachable("others wait before it")
    try:
        async with asyncio.timeout(PATIENCE_S), folder.lock(PATIENCE_S):
            sent = await Delivery(folder).send_waiting()
            if path not in sent and not path.exists() and not (folder.refused / path.name).exists():
                async with open_sender() as sender:  # the site's worker was faster
                    return Told(flow_run_id=await sender.latest_run(event))
    except (MimasUnreachable, LockTaken, OSError) as error:  # a TimeoutError is an OSError
        why = error
    if path in sent:
        logger.info("%s: flow run %s", event, sent[path])
        return Told(flow_run_id=sent[path])
    if path.exists():
        return _kept(event, path, why)
    if (folder.refused / path.name).exists():
        raise EventRefused(
            f"Mimas takes no {event}: see {folder.refused / path.name}. "
            "Send it with the id that the collection has in ISPyB"
        )
    return Told()  # somebody else was faster, and which run it is can't be asked just now


def _kept(event: CollectionEvent, path: Path, why: Exception) -> Told:
    reason = str(why) or f"it took longer than {PATIENCE_S:.0f} s"
    logger.warning("%s is kept in %s and will be sent as soon as the site takes it: %s", event, path, reason)
    return Told(kept=path)


async def _send_now(event: CollectionEvent, why: str) -> Told:
    """Send an event without keeping it, for as long as one may wait."""
    _import_prefect()
    mark = uuid4().hex

    async def send() -> UUID:
        async with open_sender() as sender:
            return await sender.send(event, mark)

    try:
        run = await retry(send, MimasUnreachable, _PAUSES, patience_s=PATIENCE_S)
    except MimasUnreachable as error:
        again = f"plaza event {event.event} {event.dcid}"
        raise EventNotKept(f"{error}; {why}. Then tell Mimas with `{again}`") from error
    logger.info("%s: flow run %s", event, run)
    return Told(flow_run_id=run)


def _import_prefect() -> None:
    """Import what sending takes, beforehand: that takes seconds, which aren't to count as an answer's."""
    if has_prefect_api():
        import prefect.client.orchestration  # noqa: F401
