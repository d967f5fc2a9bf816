"""A site of its own for benchmarks of whole recipe runs, and collections whose images lie ready."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import psutil

from blocks.settings import Settings
from flows.site.running_site import use_running_site
from flows.site.services import running_site
from tasks.simulation.image_set import ImageSet
from tasks.simulation.visit import Visit

CORES = len(os.sched_getaffinity(0))


@contextmanager
def bench_site(**changes: Any) -> Iterator[Settings]:
    """Have a site in a temporary folder, and this process as its client.

    Parameters
    ----------
    changes
        Settings other than usual.
    """
    with TemporaryDirectory(prefix="plaza-bench-") as home:
        usual = {"home": Path(home), "server_port": 0, "dask_port": 0, "analysis_workers": CORES}
        settings = Settings(**usual | changes)
        with running_site(settings, timeout=300):
            use_running_site(settings)
            yield settings


def repeat_images(sweep: ImageSet, count: int, folder: Path, **changes: Any) -> ImageSet:
    """Make a longer CBF sweep of the images of a short one, as hard links."""
    folder.mkdir(parents=True)
    longer = sweep.model_copy(update={"folder": folder, "images": count, "recorded": count, **changes})
    names = sweep.file_names()
    for index, name in enumerate(longer.file_names()):
        (folder / name).hardlink_to(sweep.folder / names[index % len(names)])
    return longer


def visit_of(settings: Settings) -> Visit:
    """The visit in whose folder the images lie ready: where previews go follows from it."""
    return Visit.simulated("i24", settings.home / "data")


def register(settings: Settings, sweep: ImageSet) -> int:
    """Write a data collection's rows as if it had just ended, its images where they lie, and return its dcid."""
    from blocks.site_ispyb import connect
    from tasks.ispyb_access.schema.tables import create_schema
    from tasks.simulation import ispyb_rows

    engine = connect(settings)
    create_schema(engine)
    dcid, _ = ispyb_rows.begin_collection(engine, sweep, visit_of(settings), sweep.folder, None)
    ispyb_rows.end_collection(engine, dcid, ispyb_rows.SUCCESSFUL, None)
    engine.dispose()
    return dcid


async def start_recipe(recipe: str, dcid: int) -> UUID:
    """Start a recipe run and return its id."""
    from prefect.deployments import run_deployment

    run = await run_deployment(f"{recipe}/live", parameters={"dcid": dcid}, timeout=0)  # type: ignore[misc]
    return run.id


async def await_run(run_id: UUID, timeout_s: float = 600) -> Any:
    """Wait until a flow run has ended; return it.

    Raises
    ------
    RuntimeError
        It didn't complete.
    """
    from prefect.client.orchestration import get_client

    async with asyncio.timeout(timeout_s), get_client() as client:
        while True:
            run = await client.read_flow_run(run_id)
            if run.state is not None and run.state.is_final():
                if not run.state.is_completed():
                    raise RuntimeError(f"{run.name}: {run.state.name}: {run.state.message}")
                return run
            await asyncio.sleep(1.0)  # seldom: each question costs the server what is measured here


def run_seconds(run: Any) -> float:
    """How long a flow run took, from its first line to its end."""
    return (run.end_time - run.start_time).total_seconds()


def flow_processes(recipe: str) -> list[psutil.Process]:
    """Processes of a recipe's runs that are under way: their titles say so."""
    processes = psutil.process_iter(["cmdline"])
    return [process for process in processes if f"plaza: {recipe} /" in " ".join(process.info["cmdline"] or [])]


def load() -> list[float]:
    """The machine's load."""
    return [round(value, 1) for value in psutil.getloadavg()]


def now() -> float:
    """Seconds since the epoch."""
    return time.time()
