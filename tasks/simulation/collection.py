"""A data collection that happens: rows in ISPyB, start event, images in time, run status, end event."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from blocks.identifiers import Dcid
from tasks.simulation.child import Place, Produce, Survey
from tasks.simulation.image_set import ImageSet
from tasks.simulation.jobs import run_job
from tasks.simulation.plan import CollectionPlan, Truth
from tasks.simulation.visit import Visit

if TYPE_CHECKING:
    from sqlalchemy import Engine

logger = logging.getLogger(__name__)

Event = Literal["start", "end"]
Announce = Callable[[Event, Dcid], Awaitable[object]]
OnImage = Callable[[int, float], None]


class CollectionRecord(BaseModel):
    """What happened in a simulated data collection. Times are seconds since the epoch."""

    model_config = ConfigDict(frozen=True)

    dcid: Dcid
    group_id: int
    visit: str
    beamline: str
    directory: Path
    sweep: ImageSet
    truth: Truth | None = Field(None, description="What synthetic images were made of")
    run_status: str
    started_at: float
    first_image_at: float
    last_image_at: float
    ended_at: float
    rate_hz: float = Field(description="Images a second as they came; 0 for a single one")


async def render(plan: CollectionPlan, store: Path, on_image: OnImage | None = None) -> ImageSet:
    """Render a plan's images, unless the store has them, and return what can be collected."""
    store.mkdir(parents=True, exist_ok=True)
    return ImageSet.model_validate(await run_job(Produce(plan=plan, store=store), on_image))


async def find_sweeps(folder: Path, grid: tuple[int, int] | None = None) -> list[ImageSet]:
    """Find what can be collected again from a folder of images; see `tasks.simulation.replay.survey`."""
    found = await run_job(Survey(folder=folder.expanduser().absolute(), grid=grid))
    return TypeAdapter(list[ImageSet]).validate_python(found)


async def collect(
    sweep: ImageSet,
    visit: Visit,
    engine: "Engine",
    announce: Announce,
    *,
    rate_hz: float = 10.0,
    group_id: int | None = None,
    on_begin: Callable[[Dcid, Path], None] | None = None,
    on_image: OnImage | None = None,
) -> CollectionRecord:
    """Let a data collection happen.

    Whatever goes wrong, ISPyB gets a run status and the end is announced, as at a beamline.

    Parameters
    ----------
    sweep
        The images, as they lie ready.
    visit
        Where and for whom.
    engine
        ISPyB, with its tables.
    announce
        Told ("start", dcid) and ("end", dcid).
    rate_hz
        Images a second.
    group_id
        Data collection group that it belongs to; unset: a new one.
    on_begin
        Told the dcid and the image directory, once the rows are there.
    on_image
        Told each image's number from 1 and the time (s since the epoch) at which it was there.

    Raises
    ------
    BeamlineFault
        The images couldn't be written.
    """
    from tasks.simulation import ispyb_rows as rows

    folder = visit.make_folder(sweep.prefix)
    times: list[float] = []

    def note(number: int, at: float) -> None:
        times.append(at)
        if on_image is not None:
            on_image(number, at)

    started_at = time.time()
    dcid, group_id = await asyncio.to_thread(rows.begin_collection, engine, sweep, visit, folder, group_id)
    if on_begin is not None:
        on_begin(dcid, folder)
    run_status = rows.UNSUCCESSFUL
    try:
        await announce("start", dcid)
        await run_job(Place(sweep=sweep, destination=folder, rate_hz=rate_hz), note)
        run_status = rows.SUCCESSFUL if sweep.recorded == sweep.images else rows.STOPPED
    except asyncio.CancelledError:
        run_status = rows.STOPPED
        raise
    finally:
        recorded = None if run_status == rows.SUCCESSFUL else len(times)
        await asyncio.to_thread(rows.end_collection, engine, dcid, run_status, recorded)
        await announce("end", dcid)
        logger.info("data collection %d: %s, %d of %d images", dcid, run_status, len(times), sweep.images)
    return CollectionRecord(
        dcid=dcid,
        group_id=group_id,
        visit=visit.name,
        beamline=visit.beamline,
        directory=folder,
        sweep=sweep,
        truth=_read_truth(folder / sweep.truth_file),
        run_status=run_status,
        started_at=started_at,
        first_image_at=times[0],
        last_image_at=times[-1],
        ended_at=time.time(),
        rate_hz=(len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0,
    )


def _read_truth(path: Path) -> Truth | None:
    return Truth.model_validate_json(path.read_text()) if path.is_file() else None
