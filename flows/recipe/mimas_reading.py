"""What Mimas has read of a data collection, kept in a file for the recipe runs that it launches.

ISPyB is read once for an event; the runs get the id of Mimas's run as a parameter (`read_by`), and read what it read
here. Without the file (on another machine, after a clean-up, by another version of Plaza) they read ISPyB themselves.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from uuid import UUID

from pydantic import ValidationError

from blocks.errors import PlazaError
from blocks.home_folder import MIMAS_RUNS
from blocks.identifiers import Dcid
from blocks.settings import get_settings
from tasks.ispyb_access.reading.parameters import DispatcherParameters
from tasks.step.atomic_file import write_atomically

logger = logging.getLogger(__name__)


class OtherDataCollection(PlazaError):
    """A recipe run is to use what was read of another data collection than its own."""


def keep_reading(collection: DispatcherParameters, mimas_run: UUID) -> UUID | None:
    """Keep what a run of Mimas has read of its data collection; a run that is retried keeps what it read last.

    Returns
    -------
    UUID | None
        What recipe runs are to be told: the id of Mimas's run; None if nothing could be kept.
    """
    file = _file(mimas_run)
    try:
        # Not pydantic's JSON, nor orjson: they refuse numbers beyond 64 bits and names of files that aren't UTF-8
        write_atomically(file, json.dumps(collection.model_dump(exclude_unset=True)).encode())
    except OSError as error:
        logger.warning("what was read can't be kept in %s (%s): each recipe run reads ISPyB itself", file, error)
        return None
    return mimas_run


def find_reading(mimas_run: UUID, dcid: Dcid) -> DispatcherParameters | None:
    """Return what a run of Mimas has read of a data collection; None, with a warning, if that isn't to be had.

    Raises
    ------
    OtherDataCollection
        It was another data collection.
    """
    file = _file(mimas_run)
    try:
        collection = DispatcherParameters.model_validate(json.loads(file.read_bytes()))
    # None of them stops the run, which can read ISPyB itself
    except (OSError, ValidationError, ValueError, RecursionError) as error:  # the last: brackets within brackets
        reason = "it has another form" if isinstance(error, ValidationError | RecursionError) else error
        logger.warning("what Mimas's run %s has read isn't here, ISPyB is read again: %s: %s", mimas_run, file, reason)
        return None
    if collection.dcid != dcid:
        raise OtherDataCollection(
            f"this run is for data collection {dcid}, but Mimas's run {mimas_run} has read {collection.dcid} ({file}): "
            "expected the same; start the run without read_by, then it reads ISPyB itself"
        )
    logger.info("data collection %d is known from Mimas's run %s", dcid, mimas_run)
    return collection


def _file(mimas_run: UUID) -> Path:
    return get_settings().home / MIMAS_RUNS / str(mimas_run) / "collection.json"
