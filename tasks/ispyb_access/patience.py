"""Write to ISPyB, and again from the start while it's away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from blocks.errors import DatabaseUnavailable
from blocks.ispyb_connection import pauses
from tasks.ispyb_access.writer import Writer
from tasks.resources import Resources

Result = TypeVar("Result")


async def write_patiently(
    resources: Resources, write: Callable[[Writer], Result], logger: logging.Logger | logging.LoggerAdapter[Any]
) -> Result:
    """Write in a thread, and again for as long as ISPyB is away; the log says so once, and when it's back.

    Parameters
    ----------
    write
        What is to be written: all of it is tried again.
    """
    is_away = False
    for pause in pauses():
        try:
            result = await asyncio.to_thread(lambda: write(resources.ispyb_writer))
        except DatabaseUnavailable as error:
            if not is_away:
                logger.warning("waiting for ISPyB: %s", error)
            is_away = True
        else:
            if is_away:
                logger.info("ISPyB answers again")
            return result
        await asyncio.sleep(pause)
    raise AssertionError("pauses() ended")
