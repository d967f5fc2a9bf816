"""Hand requests to Plaza's own site: they're judged as its dispatcher does, and wait safely in its drop folder."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final

from blocks.errors import PassingFault, PrefectUnavailable
from flows.events.bridge.judging import BadMessage
from flows.events.dispatching import RequestRefused, dispatch
from flows.events.request import RunRequest
from flows.events.sending import SendingRefused
from flows.events.submitting import Told, submit_request
from flows.resources import SiteResources

logger = logging.getLogger(__name__)

_JUDGE_S: Final = 5.0  # others wait meanwhile


class OwnSite:
    """The site whose home this process works in: `flows.events.bridge.intake.Site`."""

    def __init__(self, resources: SiteResources) -> None:
        self._resources = resources

    async def judge(self, request: RunRequest, mark: str) -> None:
        """Find out whether there's something to run, as `flows.events.bridge.intake.Site` says."""
        try:
            async with asyncio.timeout(_JUDGE_S):
                await dispatch(request, mark, self._resources)
        except RequestRefused as error:
            raise BadMessage(str(error)) from error
        except (PrefectUnavailable, TimeoutError) as error:
            # The drop folder is there for that; whether its recipe is known is found out when the server is back
            logger.info(
                "a request goes to the drop folder unjudged: %s", str(error) or "Prefect's server takes its time"
            )

    async def submit(self, request: RunRequest, headers: Mapping[str, Any], mark: str) -> str:
        """Have it run, as `flows.events.bridge.intake.Site` says."""
        try:
            return _in_words(await submit_request(request, headers, mark=mark))
        except PassingFault:
            raise
        except SendingRefused as error:
            raise BadMessage(str(error)) from error


def _in_words(told: Told) -> str:
    if told.kept is not None:
        return f"kept in {told.kept} until the site takes it"
    runs = ", ".join(f"{run.recipe}, flow run {run.flow_run_id}, recipe ID {run.recipe_id}" for run in told.runs)
    return runs or "handed to the site"
