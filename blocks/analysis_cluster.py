"""The Dask cluster for per-image analysis: a scheduler somewhere, or a cluster within the process."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from blocks.errors import PassingFault
from blocks.settings import Settings

if TYPE_CHECKING:
    from distributed import Client

CONNECT_LIMIT_S = 8.0  # not Dask's own 30 s: whoever can't connect tries again, and says so in the log meanwhile
WORKER_PRELOAD = "tasks.diffraction.worker"
"""Module that Dask workers load at their start, so that DIALS is ready when the first image comes."""


# Dask looks at its threads a hundred times a second and at its event loops fifty times; here all wait for DIALS.
# Its logs of messages hold their content: 1,000 each make tens of MB in a recipe run.
DASK_CONFIGURATION = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.low-level-log-length": 100,
}


class AnalysisClusterUnavailable(PassingFault):
    """The Dask cluster for per-image analysis can't be reached."""


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[Client]:
    """Yield an asynchronous Dask client of the analysis cluster, which is closed at the end.

    Without an address in the settings it's a cluster within this process: DIALS runs in child processes of the
    workers in any case, so threads will do.

    Raises
    ------
    AnalysisClusterUnavailable
        Nothing answers at the scheduler's address.
    """
    if settings.dask_scheduler:
        async with connect_to_scheduler(settings.dask_scheduler) as client:
            yield client
    else:
        async with connect_locally(settings.analysis_workers) as client:
            yield client


@asynccontextmanager
async def connect_to_scheduler(address: str) -> AsyncIterator[Client]:
    """Yield an asynchronous client of the scheduler at an address such as tcp://127.0.0.1:8786.

    Raises
    ------
    AnalysisClusterUnavailable
        Nothing answers within some seconds.
    """
    import dask
    from distributed import Client

    try:
        with dask.config.set(DASK_CONFIGURATION):
            # Not as the process's default: what shares the process may have a client of its own.
            client = await Client(address, asynchronous=True, timeout=CONNECT_LIMIT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise AnalysisClusterUnavailable(
            f"no Dask scheduler answers at {address} ({type(error).__name__}: {error}). Start one with `plaza up`, or "
            "unset PLAZA_DASK_SCHEDULER, for images to be analysed on this machine"
        ) from error
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def connect_locally(workers: int = 0) -> AsyncIterator[Client]:
    """Yield an asynchronous client of a cluster within this process, of one-thread workers; 0: one per core."""
    import dask
    from distributed import Client, LocalCluster

    # How a scheduler and its workers greet each other within a process is of no interest to a recipe run's log.
    logging.getLogger("distributed").setLevel(logging.WARNING)
    with dask.config.set(DASK_CONFIGURATION):
        cluster = await LocalCluster(
            n_workers=workers or len(os.sched_getaffinity(0)),
            threads_per_worker=1,
            processes=False,
            asynchronous=True,
            # Without dashboard it has an HTTP port all the same: one that is free, or runs on one machine quarrel
            scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
            silence_logs=False,  # else it changes the levels of logging for the whole process
            memory_limit=0,  # images are in the DIALS processes: watching this process's memory would be idle
            preload=[WORKER_PRELOAD],
        )
    async with cluster:
        with dask.config.set(DASK_CONFIGURATION):
            client = await Client(cluster, asynchronous=True, set_as_default=False)
        async with client:
            yield client
