"""Read from ISPyB for a decision, with patience: for a database that is away, for a beamline that isn't done."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from blocks.errors import DatabaseUnavailable, PlazaError
from blocks.identifiers import Dcid
from blocks.retrying import Pauses, retry
from tasks.ispyb_access.reading.asking import job_to_read
from tasks.ispyb_access.reading.parameters import DispatcherParameters, ReadParameters
from tasks.step.resources import Resources

logger = logging.getLogger(__name__)

# Then the run fails, and may be retried: nothing has been done by then. (Writers wait without limit, since what they
# hold would be lost; Zocalo's dispatcher doesn't wait at all.)
OUTAGE_PATIENCE_S = 600.0
PAUSES = Pauses(first_s=1.0, longest_s=3.0)  # as writers have them: they go on within 5 s of the server's return
STATUS_INTERVAL_S = 2.0  # as often as Zocalo's dispatcher looks

Answer = TypeVar("Answer")


class RunStatusMissing(PlazaError):
    """The beamline hasn't said in ISPyB how the data collection ended."""


async def read_collection(resources: Resources, dcid: Dcid, guid: str) -> DispatcherParameters:
    """Read a data collection as recipes and Mimas see it.

    Parameters
    ----------
    resources
        Where ISPyB is.
    dcid
        The data collection.
    guid
        The run: the last component of its directories.

    Raises
    ------
    UnknownDataCollection
        ISPyB has none of this id.
    DatabaseUnavailable
        ISPyB has been away for ten minutes.
    VisitFilesUnavailable
        The visit's file system doesn't answer.
    """
    from tasks.ispyb_access.reading.reader import read_data_collection

    return await _patiently(lambda: read_data_collection(resources.ispyb, dcid, guid))


async def read_ispyb_parameters(
    resources: Resources, given: Mapping[str, Any], guid: str, collection: DispatcherParameters | None = None
) -> ReadParameters:
    """Add to the parameters that were handed over what ISPyB says of the data collection and the job that they name.

    Parameters
    ----------
    resources
        Where ISPyB is; not asked if nothing is left to read.
    given
        What was handed over, as `tasks.ispyb_access.reading.reader.complete_parameters` takes it.
    guid
        The run.
    collection
        The data collection, if it has been read already.

    Raises
    ------
    UnknownDataCollection, UnknownJob
        ISPyB has none of this id.
    DatabaseUnavailable
        ISPyB has been away for ten minutes.
    VisitFilesUnavailable
        The visit's file system doesn't answer.
    """
    if collection is not None and job_to_read(given) is None:
        return ReadParameters(given=dict(given), dcid=collection.dcid, collection=collection)
    from tasks.ispyb_access.reading.reader import complete_parameters

    return await _patiently(lambda: complete_parameters(resources.ispyb, given, guid, collection=collection))


async def await_run_status(resources: Resources, dcid: Dcid, timeout_s: float) -> str:
    """Wait until the beamline has set the data collection's `runStatus`, and return it.

    Raises
    ------
    RunStatusMissing
        It is still NULL after `timeout_s` seconds.
    UnknownDataCollection
        ISPyB has none of this id.
    DatabaseUnavailable
        ISPyB has been away for ten minutes.
    """
    from tasks.ispyb_access.reading.reader import read_run_status

    deadline = time.monotonic() + timeout_s
    # Asked before the clock is looked at: a time-out of 0 asks once
    while not (status := await _patiently(lambda: read_run_status(resources.ispyb, dcid))):
        if time.monotonic() >= deadline:
            raise RunStatusMissing(
                f"data collection {dcid} still has no runStatus in ISPyB after {timeout_s:g} s: expected the beamline "
                "to set it when the collection ends; send the event again when it is set, or don't ask to wait for it"
            )
        await asyncio.sleep(STATUS_INTERVAL_S)
    return status


async def _patiently(read: Callable[[], Answer]) -> Answer:
    """Read in a thread, and again while ISPyB can't be reached."""
    return await retry(
        lambda: asyncio.to_thread(read),
        DatabaseUnavailable,
        PAUSES,
        patience_s=OUTAGE_PATIENCE_S,
        tell=lambda fault, pause_s: logger.warning("%s (again in %.1f s)", fault, pause_s),
    )
