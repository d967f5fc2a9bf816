"""The simulated beamline at work: data collections one after the other, announced to Mimas."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from blocks.errors import PlazaError
from tasks.simulation.collection import Announce, CollectionRecord, Event, OnImage, collect
from tasks.simulation.plan import CollectionKind
from tasks.simulation.sweep import Sweep
from tasks.simulation.visit import Visit

if TYPE_CHECKING:
    from collections.abc import Callable

    from blocks.settings import Settings

logger = logging.getLogger(__name__)


class MimasUnreachable(PlazaError):
    """An event can't be handed to Mimas: no Prefect server, or no deployment of Mimas on it."""


async def announce_to_mimas(event: Event, dcid: int) -> None:
    """Tell Mimas that a data collection started or ended; the same event twice is one run.

    Raises
    ------
    MimasUnreachable
        Prefect's server doesn't answer or doesn't know Mimas.
    """
    from httpx import HTTPError
    from prefect.deployments.flow_runs import arun_deployment
    from prefect.exceptions import ObjectNotFound

    again = f"plaza prefect deployment run mimas/{event} --param dcid={dcid}"
    try:
        run = await arun_deployment(
            f"mimas/{event}",
            parameters={"dcid": dcid},
            flow_run_name=f"mimas {event} · dcid {dcid}",
            timeout=0,
            idempotency_key=f"{dcid}-{event}",
            as_subflow=False,
        )
    except ObjectNotFound as error:
        raise MimasUnreachable(
            f"Prefect's server has no deployment mimas/{event}: make it with `plaza deploy` (`plaza up` does so too), "
            f"then tell Mimas with `{again}`"
        ) from error
    except (HTTPError, RuntimeError) as error:
        raise MimasUnreachable(f"{_unreachable(error)}, then tell Mimas with `{again}`") from error
    logger.info("%s of data collection %d: flow run %s", event, dcid, run.id)


async def keep_to_itself(event: Event, dcid: int) -> None:
    """Tell nobody: only files and rows are wanted."""
    logger.info("%s of data collection %d is announced to nobody", event, dcid)


async def check_mimas() -> None:
    """Make sure that Mimas can be told, before a data collection starts.

    Raises
    ------
    MimasUnreachable
        Prefect's server doesn't answer or doesn't know Mimas.
    """
    from httpx import HTTPError
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    try:
        async with get_client() as client:
            for event in ("start", "end"):
                await client.read_deployment_by_name(f"mimas/{event}")
    except ObjectNotFound as error:
        raise MimasUnreachable(
            "Prefect's server has no deployments mimas/start and mimas/end: make them with `plaza deploy`"
        ) from error
    except (HTTPError, RuntimeError) as error:
        raise _unreachable(error) from error


def _unreachable(error: Exception) -> MimasUnreachable:
    from prefect.settings import get_current_settings

    url = get_current_settings().api.url or "no PREFECT_API_URL is set"
    return MimasUnreachable(f"Prefect's server can't be reached ({url}): {error}. Start it with `plaza up`")


async def collect_all(
    sweeps: Sequence[Sweep],
    visit: Visit,
    settings: Settings,
    announce: Announce,
    *,
    rate_hz: float = 10.0,
    on_begin: Callable[[Sweep, int, Path], None] | None = None,
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
    from blocks.ispyb_connection import connect
    from tasks.ispyb_access.schema.tables import create_schema

    engine = connect(settings)
    try:
        if engine.dialect.name == "sqlite":
            create_schema(engine)
        rotations: int | None = None
        for sweep in sweeps:

            def begin(dcid: int, folder: Path, sweep: Sweep = sweep) -> None:
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
