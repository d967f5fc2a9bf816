"""The resident Dask cluster for per-image analysis on one machine: `python -m flows.site.analysis_cluster`.

A scheduler and worker processes, with DIALS loaded before the first image comes. It listens on the loopback interface
only: whoever reaches a Dask scheduler may run anything.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys

import dask
from distributed import Nanny, Scheduler

from blocks.analysis_cluster import DASK_CONFIGURATION, WORKER_PRELOAD

HOST = "127.0.0.1"

logger = logging.getLogger("flows.site.analysis_cluster")


async def run_cluster(port: int, workers: int) -> None:
    """Run a scheduler and workers until SIGTERM or SIGINT.

    A worker that dies is started again by its nanny. (A LocalCluster would stop replacing workers after the first
    that stays away for 15 s.) Nannies and workers end with this process, however it ends.

    Raises
    ------
    OSError, RuntimeError
        The port is taken.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    # Without dashboard it has an HTTP port all the same, by default 8787 on all interfaces
    async with Scheduler(host=HOST, port=port, dashboard=False, dashboard_address=f"{HOST}:0") as scheduler:
        nannies = [_make_nanny(scheduler, name) for name in range(workers)]
        try:
            await asyncio.gather(*nannies)
            logger.info("Analysis cluster with %d workers at %s", workers, scheduler.address)
            await stop.wait()
            logger.info("Analysis cluster ends")
        finally:
            await asyncio.gather(*(nanny.close() for nanny in nannies))


def _make_nanny(scheduler: Scheduler, name: int) -> Nanny:
    # Images are in the DIALS processes: a limit to the worker's own memory would watch the wrong process. One thread,
    # as each thread has a DIALS process of its own: cores are used by more workers.
    return Nanny(scheduler.address, nthreads=1, host=HOST, name=name, memory_limit=0, preload=[WORKER_PRELOAD])


def main() -> int:
    """Run the cluster as the command line asks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True, help="port of the scheduler")
    parser.add_argument("--workers", type=int, default=0, help="worker processes; 0: one per core")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    dask.config.set(DASK_CONFIGURATION)  # nannies pass it on
    try:
        asyncio.run(run_cluster(arguments.port, arguments.workers or len(os.sched_getaffinity(0))))
    except (OSError, RuntimeError) as error:  # Dask wraps the one in the other
        if not isinstance(error.__cause__ or error, OSError):
            raise
        logger.error(
            "The analysis cluster can't listen on %s:%d: %s. Choose another port (PLAZA_DASK_PORT) or free this one",
            HOST,
            arguments.port,
            error.__cause__ or error,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
