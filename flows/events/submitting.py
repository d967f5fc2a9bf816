"""Submit events and requests: they are sent now, or kept and sent as soon as their site is back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

from pydantic import ValidationError

from blocks.errors import DatabaseUnavailable, PlazaError
from blocks.prefect_api import has_prefect_api
from blocks.retrying import Pauses, retry
from blocks.validation_faults import describe
from flows.display_text import escaped
from flows.events.drop_folder.delivery import Delivery
from flows.events.drop_folder.file import DroppedRequest
from flows.events.drop_folder.folder import DropFolder, LockTaken, drop_folder_at_hand
from flows.events.drop_folder.sender import DropSender, StartedRun
from flows.events.event import CollectionEvent
from flows.events.request import RunRequest
from flows.events.sending import EventNotTaken, MimasUnreachable, SendingRefused, open_sender
from flows.prefect_limits import check_parameters
from flows.resources import SiteResources

logger = logging.getLogger(__name__)

PATIENCE_S: Final = 5.0  # a beamline doesn't wait longer
_PAUSES: Final = Pauses(first_s=0.2, longest_s=2.0)


class EventNotKept(MimasUnreachable):
    """An event or a request can neither be sent now nor kept: somebody has to send it again."""


@dataclass(frozen=True)
class Told:
    """What became of an event or a request: the runs that it made, or the file that keeps it until it can be sent.

    Neither is known if the site's worker has sent it at once and the server can't be asked just now.
    """

    runs: tuple[StartedRun, ...] = ()
    kept: Path | None = None

    @property
    def flow_run_id(self) -> UUID | None:
        """The first of the runs."""
        return self.runs[0].flow_run_id if self.runs else None


async def submit_request(
    request: RunRequest, headers: Mapping[str, Any] | None = None, *, mark: str | None = None
) -> Told:
    """Have run what a request asks for; what can't be sent now is kept, and the site sends it.

    It's on the disk before anything else is done, and sent behind what waits already.

    Parameters
    ----------
    headers
        Of Zocalo's message: who asks, on which host.
    mark
        What tells this request from any other, 200 characters at most: the same mark twice is one run. Without it,
        each call asks for a run of its own.

    Raises
    ------
    SendingRefused
        It can't be run as it is: there's nothing to run, no such recipe, or an id is none.
    EventNotKept
        It can't be sent now and there is no home of a site to keep it in, or its disk is full.
    """
    return await keep_and_send(_checked(request, headers or {}, mark or uuid4().hex))


async def keep_and_send(content: CollectionEvent | DroppedRequest) -> Told:
    """Put an event or a request on the disk, then send it behind what waits already.

    Raises
    ------
    SendingRefused
        It can't be sent as it is.
    EventNotKept
        It can't be sent now and there is no home of a site to keep it in, or its disk is full.
    """
    folder = drop_folder_at_hand()
    if folder is None:
        return await _send_unkept(content, "there is no home of a site to keep it in")
    try:
        path = await asyncio.to_thread(folder.keep, content)
    except OSError as error:
        logger.warning("%s can't be kept in %s: %s", content, folder.path, error.strerror)
        return await _send_unkept(content, f"it can't be kept in {folder.path} ({error.strerror})")
    return await _send_kept(folder, content, path)


def drop_request(request: RunRequest, headers: Mapping[str, Any] | None = None) -> Path:
    """Only keep a request in the home's drop folder, and return its file: the site sends it.

    Raises
    ------
    SendingRefused
        It can't be run as it is.
    EventNotKept
        It can't be kept.
    """
    content = _checked(request, headers or {}, uuid4().hex)
    folder = drop_folder_at_hand()
    if folder is None:
        raise EventNotKept("there is no home of a site to keep it in: set PLAZA_HOME to one where `plaza up` was")
    try:
        return folder.keep(content)
    except OSError as error:
        raise EventNotKept(f"it can't be kept in {folder.path}: {error.strerror}") from error


def check(request: RunRequest) -> None:
    """Check a request as far as that can be done without a database or a server.

    Raises
    ------
    SendingRefused
        It can't be run as it is.
    """
    _checked(request, {}, "checked")


def _checked(request: RunRequest, headers: Mapping[str, Any], mark: str) -> DroppedRequest:
    from flows.events.dispatching import check_request

    try:
        check_request(request)
        check_parameters(request.parameters)
        content = DroppedRequest(headers=_in_json(headers), message=request, mark=mark)
        content.model_dump_json()
    except SendingRefused:
        raise
    except ValidationError as error:
        raise SendingRefused(f"that's no request: {describe(error, most=3)}") from error
    except PlazaError as error:
        raise SendingRefused(str(error)) from error
    except ValueError as error:
        raise SendingRefused(f"the request can't be written as JSON: {error}") from error
    return content


def _in_json(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return headers of any protocol as JSON has them."""
    return {
        escaped(str(name)): value if isinstance(value, int | float | None) else escaped(str(value))
        for name, value in headers.items()
    }


async def _send_kept(folder: DropFolder, content: CollectionEvent | DroppedRequest, path: Path) -> Told:
    """Send what waits and this behind it, unless that takes longer than a beamline may wait.

    Raises
    ------
    SendingRefused
        It can't be sent as it is.
    """
    _import_prefect()
    delivery = Delivery(folder, own=path if isinstance(content, DroppedRequest) else None)
    sent: dict[Path, tuple[StartedRun, ...]] = {}
    why: Exception = MimasUnreachable("others wait before it")
    try:
        async with asyncio.timeout(PATIENCE_S):
            is_to_go_on = True
            while is_to_go_on:
                async with folder.lock(PATIENCE_S):
                    sent |= await delivery.send_waiting()
                is_to_go_on = delivery.is_cut_short and path not in sent and path.exists()
            if delivery.own_refusal is not None:
                raise delivery.own_refusal
            if path not in sent and not path.exists() and not _aside(folder, path).exists():
                return Told(await _find_runs(content))  # the site's worker was faster
        why = delivery.why_waiting(path) or why
    except SendingRefused:
        raise
    except Exception as error:  # whatever another file brings about: this one is kept
        why = delivery.why_waiting(path) or _of_everyone(error)
    if path in sent:
        logger.info("%s: %s", content, sent[path])
        return Told(sent[path])
    if path.exists():
        return _kept(content, path, why)
    if _aside(folder, path).exists():
        raise SendingRefused(_refusal(folder, content, _aside(folder, path)))
    return Told()  # somebody else was faster, and which run it is can't be asked just now


async def _send_unkept(content: CollectionEvent | DroppedRequest, why: str) -> Told:
    """Send without keeping it, for as long as one may wait.

    Raises
    ------
    SendingRefused
        It can't be sent as it is.
    EventNotKept
        It can't be sent now.
    """
    _import_prefect()
    mark = (content.mark if isinstance(content, DroppedRequest) else None) or uuid4().hex

    async def send() -> tuple[StartedRun, ...]:
        async with open_sender() as sender, SiteResources() as resources:
            return await DropSender(sender, resources).send(content, mark)

    try:
        runs = await retry(send, (MimasUnreachable, DatabaseUnavailable), _PAUSES, patience_s=PATIENCE_S)
    except (MimasUnreachable, DatabaseUnavailable) as error:
        again = "send it again"
        if isinstance(content, CollectionEvent):
            again = f"tell Mimas with `plaza event {content.event} {content.dcid}`"
        raise EventNotKept(f"{error}; {why}. Then {again}") from error
    logger.info("%s: %s", content, runs)
    return Told(runs)


async def _find_runs(content: CollectionEvent | DroppedRequest) -> tuple[StartedRun, ...]:
    """Return the runs of what somebody else has just sent."""
    async with open_sender() as sender, SiteResources() as resources:
        if isinstance(content, DroppedRequest):
            return await DropSender(sender, resources).send(content, content.mark or "")  # its mark finds them
        run = await sender.latest_run(content)
        return () if run is None else (StartedRun("mimas", run, content.guid or str(run)),)


def _aside(folder: DropFolder, path: Path) -> Path:
    return folder.refused / path.name  # its name is its own


def _refusal(folder: DropFolder, content: CollectionEvent | DroppedRequest, aside: Path) -> str:
    reason = folder.reason(aside)
    if isinstance(content, DroppedRequest):
        folder.take_back(aside)  # who has asked has it, and is told
        return reason or f"{content} can't be run"
    return f"{reason or f'Mimas takes no {content}'}; see {aside}"


def _kept(content: CollectionEvent | DroppedRequest, path: Path, why: Exception) -> Told:
    reason = f"it took longer than {PATIENCE_S:.0f} s" if isinstance(why, TimeoutError) else str(why) or repr(why)
    logger.warning("%s is kept in %s and will be sent as soon as the site takes it: %s", content, path, reason)
    return Told(kept=path)


def _of_everyone(error: Exception) -> Exception:
    """Return why what waits behind others waits: a fault that is another's own isn't told to who sent this one."""
    if isinstance(error, TimeoutError | LockTaken) or (
        isinstance(error, MimasUnreachable) and not isinstance(error, EventNotTaken)
    ):
        return error
    return MimasUnreachable("another one that waits before it isn't taken yet")


def _import_prefect() -> None:
    """Import what sending takes, beforehand: that takes seconds, which aren't to count as an answer's."""
    if has_prefect_api():
        import prefect.client.orchestration  # noqa: F401
