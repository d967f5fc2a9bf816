"""Tell an outage of Prefect's API, which may pass, from its answers, and wait for the end of one."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import httpx

from blocks.errors import PrefectUnavailable
from blocks.retrying import Pauses, retry
from flows.display_text import shortened

Result = TypeVar("Result")

logger = logging.getLogger(__name__)

PATIENCE_S: Final = 300.0  # supervisord has a killed server back within 10 s, a machine is up again within minutes
PAUSES: Final = Pauses(first_s=1.0, longest_s=10.0)  # beside the minute for which Prefect's client tries by itself
REASON_CHARACTERS: Final = 500  # an answer of Prefect's API repeats all that it was sent


def is_outage(error: Exception) -> bool:
    """Tell whether Prefect's API can't be reached, or can't do its work now: its client has tried several times."""
    if isinstance(error, PrefectUnavailable):
        return True
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.is_server_error
    return isinstance(error, httpx.TransportError)


def unavailable(error: Exception) -> PrefectUnavailable:
    """Return what is raised for an outage; its cause is to be the error."""
    return PrefectUnavailable(f"Prefect's API doesn't answer: {shortened(repr(error), REASON_CHARACTERS)}")


async def through_outages(what: str, call: Callable[[], Awaitable[Result]], patience_s: float | None = None) -> Result:
    """Call Prefect's API, and again while it's away; the call must do no harm when it's done twice.

    Parameters
    ----------
    what
        What the call is for, as a line of the log says it.
    patience_s
        How long after the first try the last one may begin, in seconds; five minutes unless it's said.

    Raises
    ------
    PrefectUnavailable
        The API is still away.
    """

    def tell(fault: BaseException, pause_s: float) -> None:
        reason = shortened(repr(fault), REASON_CHARACTERS)
        logger.warning("%s: Prefect's API is away (%s), tried again in %.0f s", what, reason, pause_s)

    try:
        return await retry(
            call, is_outage, PAUSES, patience_s=PATIENCE_S if patience_s is None else patience_s, tell=tell
        )
    except httpx.HTTPError as error:
        if not is_outage(error):
            raise
        raise unavailable(error) from error
