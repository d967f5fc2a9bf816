"""Send events to Mimas by Prefect's API: each makes a run of Mimas, or finds the one that it made before.

Prefect is imported when something is sent: it reads its environment then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from uuid import UUID

from blocks.errors import PassingFault, PlazaError
from blocks.prefect_api import has_prefect_api
from flows.display_text import shortened
from flows.events.event import CollectionEvent, EventKind
from flows.run_marks import extras_that_count

if TYPE_CHECKING:
    from httpx import HTTPStatusError
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

MARK: Final = "plaza.event"
"""The label of a run that names the event that made it, so that an event that is sent twice is known again."""

# What Prefect's server answers to parameters that a deployment's schema doesn't allow
_REFUSALS: Final = frozenset({409, 422})
_REASON_CHARACTERS: Final = 500  # it repeats what it was sent
_MOST_EARLIER: Final = 50  # runs of one event that are looked at
_CHECK_S: Final = 5.0


class MimasUnreachable(PassingFault):
    """An event can't be sent to Mimas now: no Prefect server, or no deployment of Mimas on it."""


class EventNotTaken(MimasUnreachable):
    """Prefect's server answers, but can't take this event now: an HTTP 500, for instance."""


class SendingRefused(PlazaError, ValueError):
    """What is asked for can't be sent as it is, today or later."""


class EventRefused(SendingRefused):
    """Mimas can't be told of an event as it is, today or later: its data collection is none."""


class Sender:
    """Sends events as long as its client is open."""

    def __init__(self, client: PrefectClient) -> None:
        self._client = client
        self._deployments: dict[EventKind, UUID] = {}

    async def send(self, event: CollectionEvent, mark: str) -> UUID:
        """Have Mimas run for an event, and return its run.

        An event whose run goes on is that run. If it has ended, in whatever state, or is suspended or being cancelled,
        Mimas runs again, and launches what neither runs nor is done.

        Parameters
        ----------
        mark
            Tells this sending from others of the same event: sent again, say after a crash, it's always the same run.

        Raises
        ------
        EventNotTaken, MimasUnreachable
            It can't be sent now.
        EventRefused
            Mimas's deployment takes no such event.
        """
        with told_as_ours(event):
            deployment = await self.deployment(event.event)
            key = event.key
            while True:
                run = await self._create(deployment, event, key, mark)
                if _goes_on(run) or _is_of(run, mark):
                    return run.id
                earlier = await self._runs(event)
                ours = next((known for known in earlier if _is_of(known, mark)), None)
                if ours is not None:
                    return ours.id
                # The newest one: two senders agree on it, and so on the next run's key
                last = max([run, *earlier], key=_created)
                if _goes_on(last):
                    return last.id
                key = f"{event.key}-after-{last.id}"

    async def latest_run(self, event: CollectionEvent) -> UUID | None:
        """Return the newest run for an event: the one that an event which somebody has just sent is; None: none.

        Raises
        ------
        MimasUnreachable
            It can't be asked for now.
        """
        with told_as_ours(event):
            run = max(await self._runs(event), key=_created, default=None)
            return None if run is None else run.id

    async def deployment(self, event: EventKind) -> UUID:
        """Return the deployment of Mimas for such events."""
        if event not in self._deployments:
            found = await self._client.read_deployment_by_name(f"mimas/{event}")
            self._deployments[event] = found.id
        return self._deployments[event]

    async def _create(self, deployment: UUID, event: CollectionEvent, key: str, mark: str) -> FlowRun:
        """Create a run, or return the one that has the key already."""
        return await self._client.create_flow_run_from_deployment(
            deployment,
            parameters=event.flow_parameters,
            name=f"mimas {event.event} · dcid {event.dcid}",
            tags=event.tags,
            idempotency_key=key,
            labels={MARK: mark},
        )

    async def _runs(self, event: CollectionEvent) -> list[FlowRun]:
        """Return the newest runs of Mimas for the same event, however they were started."""
        from prefect.client.schemas.filters import (
            DeploymentFilter,
            DeploymentFilterId,
            FlowRunFilter,
            FlowRunFilterTags,
        )
        from prefect.client.schemas.sorting import FlowRunSort

        runs = await self._client.read_flow_runs(
            flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=event.tags)),
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[await self.deployment(event.event)])),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            limit=_MOST_EARLIER,
        )
        extras = extras_that_count(event.parameters)
        return [
            run
            for run in runs
            if extras_that_count(run.parameters.get("parameters") or {}) == extras and _guid_of(run) == event.guid
        ]


@asynccontextmanager
async def open_sender() -> AsyncIterator[Sender]:
    """Give a sender by this process's Prefect API.

    Raises
    ------
    MimasUnreachable
        The API doesn't answer.
    """
    if not has_prefect_api():  # Prefect would start a server of its own
        raise MimasUnreachable("no site runs (no PREFECT_API_URL is set): start one with `plaza up`")
    from prefect.context import AsyncClientContext
    from prefect.settings import (
        PREFECT_CLIENT_MAX_RETRIES,
        PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED,
        temporary_settings,
    )

    # Its own tries would take a minute: who sends tries again, or keeps the event
    as_ours = {PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED: False}
    with told_as_ours(), temporary_settings(as_ours):
        # Whatever else asks the API meanwhile, a launcher for one, shares the client: to make one takes 25 ms
        async with AsyncClientContext.get_or_create() as context:
            yield Sender(context.client)


async def check_mimas() -> None:
    """Make sure that Mimas can be told, before a data collection starts.

    Raises
    ------
    MimasUnreachable
        Prefect's server doesn't answer or doesn't know Mimas.
    """
    with told_as_ours():
        async with asyncio.timeout(_CHECK_S), open_sender() as sender:
            await sender.deployment("start")
            await sender.deployment("end")


def _guid_of(run: FlowRun) -> str | None:
    guid = run.parameters.get("guid")
    return None if guid is None else str(guid)  # by HTTP it may have come as a number


def _created(run: FlowRun) -> datetime:
    return run.created or datetime.min.replace(tzinfo=UTC)  # the server always says when


def _goes_on(run: FlowRun) -> bool:
    """Tell whether a run will see to the event: not if it was suspended, perhaps for good, or is being cancelled."""
    return run.state is None or not (run.state.is_final() or run.state.is_paused() or run.state.is_cancelling())


def _is_of(run: FlowRun, mark: str) -> bool:
    return run.labels.get(MARK) == mark


@contextmanager
def told_as_ours(event: CollectionEvent | None = None) -> Iterator[None]:
    """Raise what Prefect's client says as errors of ours."""
    from httpx import HTTPError, HTTPStatusError, InvalidURL
    from prefect.exceptions import ObjectNotFound

    # The last ones of a page that isn't Prefect's, or of an address that is none
    no_answer = (HTTPError, RuntimeError, TimeoutError, ValueError, InvalidURL)
    try:
        yield
    except PlazaError:
        raise
    except ObjectNotFound as error:
        raise MimasUnreachable(
            "Prefect's server has no deployment of Mimas for such an event (mimas/start, mimas/end, …): make them with "
            "`plaza deploy` (`plaza up` does so too)"
        ) from error
    except HTTPStatusError as error:
        if event is not None and _is_refusal(error):
            raise EventRefused(
                f"Mimas takes no {event}: {_reason(error)}. Send it with the id that the collection has in ISPyB"
            ) from error
        if error.response.is_server_error:
            raise EventNotTaken(_unhelpful(error)) from error
        raise MimasUnreachable(_unhelpful(error)) from error
    except no_answer as error:
        raise MimasUnreachable(_unreachable(error)) from error


def _is_refusal(error: HTTPStatusError) -> bool:
    status = error.response.status_code
    # A proxy or a guard before the server may answer 400, too, but not of an event
    return status in _REFUSALS or (status == 400 and _detail(error) is not None)


def _reason(refusal: HTTPStatusError) -> str:
    """Return what Prefect's server says of it, in FastAPI's form where it has that."""
    return shortened(_detail(refusal) or refusal.response.text, _REASON_CHARACTERS)


def _detail(refusal: HTTPStatusError) -> str | None:
    try:
        return str(refusal.response.json()["detail"])
    except (ValueError, LookupError, TypeError):
        return None


def _unhelpful(error: HTTPStatusError) -> str:
    return (
        f"Prefect's server answers HTTP {error.response.status_code} at {error.request.url.copy_with(query=None)}: "
        f"{_reason(error)}. See `plaza status`"
    )


def _unreachable(error: Exception) -> str:
    from prefect.settings import get_current_settings

    url = get_current_settings().api.url or "no PREFECT_API_URL is set"
    reason = shortened(str(error) or repr(error), _REASON_CHARACTERS)
    return f"Prefect's server can't be reached ({url}): {reason}. Start it with `plaza up`"
