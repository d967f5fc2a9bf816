"""Tell Mimas what happened to a data collection."""

from __future__ import annotations

import logging
from typing import Literal

from blocks.errors import PassingFault

logger = logging.getLogger(__name__)


class MimasUnreachable(PassingFault):
    """An event can't be handed to Mimas now: no Prefect server, or no deployment of Mimas on it."""


async def tell_mimas(event: Literal["start", "end"], dcid: int) -> None:
    """Tell Mimas that a data collection started or ended; the same event twice is one run.

    Raises
    ------
    MimasUnreachable
        Prefect's server doesn't answer or doesn't know Mimas.
    """
    from httpx import HTTPError
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


def _unreachable(error: Exception) -> MimasUnreachable:
    from prefect.settings import get_current_settings

    url = get_current_settings().api.url or "no PREFECT_API_URL is set"
    return MimasUnreachable(f"Prefect's server can't be reached ({url}): {error}. Start it with `plaza up`")
