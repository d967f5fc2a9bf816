"""Which beamlines runs are for, asked of ISPyB when there is something to choose between, and never waited for long."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, Final

from blocks.errors import PlazaError
from blocks.identifiers import Dcid
from flows.prefect_limits import LARGEST_DCID
from tasks.ispyb_access.reading.asking import collection_to_read

PATIENCE_S: Final = 1.0
"""How long a look for runs waits for ISPyB; the answer is used when it comes."""

PAUSE_S: Final = 10.0
"""After a fault, before ISPyB is asked again."""

MOST_AT_ONCE: Final = 500
MOST_KEPT: Final = 20_000

Read = Callable[[list[Dcid]], Mapping[Dcid, str]]

logger = logging.getLogger(__name__)


def dcid_of(parameters: Mapping[str, Any]) -> Dcid | None:
    """Return the data collection that a flow run's parameters name; None if they name none."""
    named = parameters.get("dcid")
    if named is None and isinstance(more := parameters.get("parameters"), Mapping):
        named = collection_to_read(more)
    if isinstance(named, str) and named.isdecimal() and len(named) < 20:
        named = int(named)
    if isinstance(named, bool) or not isinstance(named, int) or not 0 < named <= LARGEST_DCID:
        return None
    return Dcid(named)


class Beamlines:
    """Beamlines of data collections, as far as ISPyB has said.

    Parameters
    ----------
    read
        Ask ISPyB; it's called in a thread, and whatever it raises is logged and outlived.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._known: dict[Dcid, str] = {}
        self._reading: asyncio.Task[None] | None = None
        self._not_before = 0.0

    def of(self, dcid: Dcid | None) -> str:
        """Return a data collection's beamline; "" if nobody has said."""
        return "" if dcid is None else self._known.get(dcid, "")

    async def look_up(self, dcids: Iterable[Dcid | None]) -> None:
        """Learn what isn't known yet, unless that takes more than a second: then a later call knows it."""
        unknown = {dcid for dcid in dcids if dcid is not None} - self._known.keys()
        if self._reading is None and unknown and time.monotonic() >= self._not_before:
            self._reading = asyncio.create_task(self._learn(unknown))
        if self._reading is not None:
            await asyncio.wait([self._reading], timeout=PATIENCE_S)
            if self._reading.done():
                self._reading = None

    async def _learn(self, dcids: set[Dcid]) -> None:
        left = iter(sorted(dcids))
        try:
            while page := list(islice(left, MOST_AT_ONCE)):
                found = await asyncio.to_thread(self._read, page)
                self._known |= {dcid: found.get(dcid, "") for dcid in page}
        except PlazaError as error:
            self._pause(str(error))
        except Exception as error:  # runs start in another order without it, so nothing that it does may stop them
            logger.debug("looking beamlines up failed", exc_info=True)
            self._pause(f"{type(error).__name__}: {error}")
        while len(self._known) > MOST_KEPT:
            del self._known[next(iter(self._known))]

    def _pause(self, reason: str) -> None:
        self._not_before = time.monotonic() + PAUSE_S
        logger.warning("runs aren't told apart by their beamlines, as ISPyB doesn't say: %s", reason)


def site_beamlines() -> Beamlines:
    """Return the beamlines as the site's ISPyB has them; nothing is imported or connected before it's asked."""
    engines: list[Any] = []

    def read(dcids: list[Dcid]) -> Mapping[Dcid, str]:
        from blocks.settings import get_settings
        from blocks.site_ispyb import connect, connect_reader
        from tasks.ispyb_access.reading.beamlines import read_beamlines

        if not engines:
            settings = get_settings()
            engines.append(connect_reader(settings) or connect(settings))
        return read_beamlines(engines[0], dcids)

    return Beamlines(read)
