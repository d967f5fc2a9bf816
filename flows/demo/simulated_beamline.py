"""The simulated beamline at work: data collections one after the other, announced to Mimas."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from blocks.identifiers import Dcid
from tasks.simulation.collection import Announce, CollectionRecord, Event, OnImage, collect
from tasks.simulation.image_set import ImageSet
from tasks.simulation.plan import CollectionKind
from tasks.simulation.visit import Visit

if TYPE_CHECKING:
    from collections.abc import Callable

    from blocks.settings import Settings

logger = logging.getLogger(__name__)


async def announce_to_nobody(event: Event, dcid: Dcid) -> None:
    """Tell nobody: only files and rows are wanted."""
    logger.info("%s of data collection %d is announced to nobody", event, dcid)


async def collect_all(
    sweeps: Sequence[ImageSet],
    visit: Visit,
    settings: Settings,
    announce: Announce,
    *,
    rate_hz: float = 10.0,
    on_begin: Callable[[ImageSet, Dcid, Path], None] | None = None,
    on_image: OnImage | None = None,
) -> AsyncIterator[CollectionRecord]:
    """Let data collections happen one after the other; rotations of one call are one group in ISPyB.

    Parameters
    ----------
    sweeps
        What to collect, in order.
    visit
        Where and for whom.
    settings
        Say where ISPyB is; if that is SQLite, its tables are made when they are missing.
    announce
        Told of each start and end.
    rate_hz
        Images a second.
    on_begin
        Told the sweep, the dcid and the image directory of each data collection.
    on_image
        Told each image's number from 1 and its time.
    """
    from blocks.site_ispyb import connect
    from tasks.ispyb_access.schema.tables import create_schema

    engine = connect(settings, or_last_known=True)  # the beamline doesn't wait for the site
    try:
        if engine.dialect.name == "sqlite":  # a server's tables are its administrator's
            create_schema(engine)
        rotations: int | None = None
        for sweep in sweeps:

            def begin(dcid: Dcid, folder: Path, sweep: ImageSet = sweep) -> None:
                if on_begin is not None:
                    on_begin(sweep, dcid, folder)

            is_rotation = sweep.kind is CollectionKind.ROTATION
            record = await collect(
                sweep,
                visit,
                engine,
                announce,
                rate_hz=rate_hz,
                group_id=rotations if is_rotation else None,
                on_begin=begin,
                on_image=on_image,
            )
            rotations = record.group_id if is_rotation else rotations
            yield record
    finally:
        engine.dispose()
