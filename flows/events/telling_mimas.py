"""Tell Mimas what happened to a data collection."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Literal

from blocks.errors import PassingFault, PlazaError
from blocks.identifiers import Dcid
from flows.display_text import shortened

if TYPE_CHECKING:
    from httpx import HTTPStatusError

logger = logging.getLogger(__name__)

# What Prefect's server answers to parameters that a deployment's schema doesn't allow
_REFUSALS: Final = frozenset({400, 409, 422})
_REASON_CHARACTERS: Final = 500  # it repeats what it was sent


class MimasUnreachable(PassingFault):
    """An event can't be sent to Mimas now: no Prefect server, or no deployment of Mimas on it."""


class EventRefused(PlazaError, ValueError):
    """Mimas can't be told of an event as it is, today or later: its data collection is none."""


async def tell_mimas(event: Literal["start", "end"], dcid: Dcid) -> None:
    """Tell Mimas that a data collection started or ended; the same event twice is one run.

    Raises
    ------
    MimasUnreachable
        Prefect's server doesn't answer or doesn't know Mimas.
    EventRefused
        Mimas's deployment takes no such dcid.
    """
    from httpx import HTTPError, HTTPStatusError
    from prefect.deployments.flow_runs import arun_deployment
    from prefect.exceptions import ObjectNotFound

    again = f"plaza prefect deployment run mimas/{event} --param dcid={dcid}"
    try:
        run = await arun_deployment(
            f"mimas/{event}",
            parameters={"dcid": dcid},
            flow_run_name=f"mimas {event} · dcid {dcid}",
            timeout=0,
            idempotency_key=f"{dcid}-{event}",
            as_subflow=False,
        )
    except ObjectNotFound as error:
        raise MimasUnreachable(
            f"Prefect's server has no deployment mimas/{event}: make it with `plaza deploy` (`plaza up` does so too), "
            f"then tell Mimas with `{again}`"
        ) from error
    except (HTTPError, RuntimeError) as error:
        if isinstance(error, HTTPStatusError) and error.response.status_code in _REFUSALS:
            raise EventRefused(
                f"Mimas takes no {event} of data collection {dcid}: {_reason(error)}. "
                "Send it with the id that the collection has in ISPyB"
            ) from error
        raise MimasUnreachable(f"{_unreachable(error)}, then tell Mimas with `{again}`") from error
    logger.info("%s of data collection %d: flow run %s", event, dcid, run.id)


async def check_mimas() -> None:
    """Make sure that Mimas can be told, before a data collection starts.

    Raises
    ------
    MimasUnreachable
        Prefect's server doesn't answer or doesn't know Mimas.
    """
    from httpx import HTTPError
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    try:
        async with get_client() as client:
            for event in ("start", "end"):
                await client.read_deployment_by_name(f"mimas/{event}")
    except ObjectNotFound as error:
        raise MimasUnreachable(
            "Prefect's server has no deployments mimas/start and mimas/end: make them with `plaza deploy`"
        ) from error
    except (HTTPError, RuntimeError) as error:
        raise _unreachable(error) from error


def _reason(refusal: HTTPStatusError) -> str:
    """Return what Prefect's server says of it, in FastAPI's form where it has that."""
    try:
        said = refusal.response.json()["detail"]
    except (ValueError, LookupError, TypeError):
        said = refusal.response.text
    return shortened(str(said), _REASON_CHARACTERS)


def _unreachable(error: Exception) -> MimasUnreachable:
    from prefect.settings import get_current_settings

    url = get_current_settings().api.url or "no PREFECT_API_URL is set"
    return MimasUnreachable(f"Prefect's server can't be reached ({url}): {error}. Start it with `plaza up`")
