"""Write to ISPyB, and again from the start while it's away."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Any, TypeVar

from blocks.errors import DatabaseUnavailable
from blocks.ispyb_connection import PAUSES
from blocks.retrying import retry
from tasks.ispyb_access.writing.writer import Writer
from tasks.step.resources import Resources

Result = TypeVar("Result")


async def write_patiently(
    resources: Resources, write: Callable[[Writer], Result], logger: logging.Logger | logging.LoggerAdapter[Any]
) -> Result:
    """Write by the site's writer, and again from the start for as long as ISPyB is away."""
    return await patiently(lambda: write(resources.ispyb_writer), logger)


async def patiently(
    work: Callable[[], Result],
    logger: logging.Logger | logging.LoggerAdapter[Any],
    patience_s: float = math.inf,
) -> Result:
    """Do some work in a thread, and again while ISPyB is away; the log says so once, and when it's back.

    Parameters
    ----------
    work
        All of it is tried again.
    patience_s
        How long to try, in seconds; for ever, unless said otherwise, as nothing that was found may be lost.

    Raises
    ------
    DatabaseUnavailable
        ISPyB has been away for longer.
    """
    is_away = False

    def tell(fault: BaseException, _pause_s: float) -> None:
        nonlocal is_away
        if not is_away:
            logger.warning("waiting for ISPyB: %s", fault)
        is_away = True

    result = await retry(lambda: asyncio.to_thread(work), DatabaseUnavailable, PAUSES, patience_s=patience_s, tell=tell)
    if is_away:
        logger.info("ISPyB answers again")
    return result
