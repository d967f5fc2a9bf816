"""Write to ISPyB by hand, on the command line."""

from __future__ import annotations

import asyncio
import logging
from contextlib import closing
from typing import TYPE_CHECKING

from flows.cli.ispyb.option import open_engines

if TYPE_CHECKING:
    from tasks.ispyb_access.writing.requests import Outcome, Request

PATIENCE_S = 30.0  # for an ISPyB that is away: a person waits


def fulfil_by_hand(request: Request, url: str | None) -> Outcome:
    """Write what a request asks for, in one transaction if the site's writer can.

    It isn't entered in the ledger, since nothing names it: what a person asks for twice is meant twice.

    Parameters
    ----------
    url
        ISPyB; None: that of the settings.

    Raises
    ------
    MessageRefused
        It can't be written.
    DatabaseUnavailable
        ISPyB has been away for half a minute.
    """
    from blocks.settings import get_settings
    from tasks.ispyb_access.writing.fulfilment import fulfil
    from tasks.ispyb_access.writing.patience import patiently
    from tasks.ispyb_access.writing.writer import open_writer

    request.check()
    settings = get_settings()
    if url:
        settings = settings.model_copy(update={"ispyb_url": url, "ispyb_read_url": None})
    with open_engines(url) as engines:
        writer = open_writer(settings, engines.writing, engines.reading)
        with closing(writer):
            work = patiently(lambda: fulfil(request, writer, entry=None), logging.getLogger(__name__), PATIENCE_S)
            return asyncio.run(work)
