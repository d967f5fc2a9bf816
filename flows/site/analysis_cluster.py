"""The resident Dask cluster for per-image analysis on one machine: `python -m flows.site.analysis_cluster`.

A scheduler and worker processes, with DIALS loaded before the first image comes. Whoever reaches one of them may run
anything, so they listen on the loopback interface only, and speak TLS with those who have the site's keys.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import ssl
import sys
from pathlib import Path

import dask
from distributed import Nanny, Scheduler
from distributed.security import Security

from blocks.analysis_cluster import WORKER_PRELOAD, node_configuration
from blocks.cluster_keys import keys_folder, make_keys, security
from blocks.cluster_nodes import ClusterScheduler, ClusterWorker
from blocks.settings import get_settings

HOST = "127.0.0.1"
_HUNG_UP = (ssl.SSLZeroReturnError, ssl.SSLEOFError, ConnectionResetError)

logger = logging.getLogger("flows.site.analysis_cluster")


async def run_cluster(port: int, workers: int, home: Path) -> None:
    """Run a scheduler and workers until SIGTERM or SIGINT.

    Their keys are in the home folder.

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
    make_keys(keys_folder(home))
    secured = security(keys_folder(home))
    async with ClusterScheduler(
        host=HOST, port=port, protocol="tls://", security=secured, dashboard=False
    ) as scheduler:
        nannies = [_make_nanny(scheduler, secured, name) for name in range(workers)]
        try:
            await asyncio.gather(*nannies)
            logger.info("Analysis cluster with %d workers at %s", workers, scheduler.address)
            await stop.wait()
            logger.info("Analysis cluster ends")
        finally:
            await asyncio.gather(*(nanny.close() for nanny in nannies))


def _make_nanny(scheduler: Scheduler, secured: Security, name: int) -> Nanny:
    return Nanny(
        scheduler.address,
        worker_class=ClusterWorker,
        # one thread, as each thread has a DIALS process of its own: cores are used by more workers
        nthreads=1,
        host=HOST,
        protocol="tls://",
        security=secured,
        name=name,
        memory_limit=0,  # images are in the DIALS processes: a limit would watch the wrong process
        preload=[WORKER_PRELOAD],
    )


def is_worth_telling(record: logging.LogRecord) -> bool:
    """Tell whether a line of Dask's connections isn't that of a look at the port, as `plaza status` takes.

    Whoever hangs up before a word is said wants nothing of it; who speaks without the site's keys is told of.
    """
    return not any(isinstance(word, _HUNG_UP) for word in record.args or ())


def main() -> int:
    """Run the cluster as the command line asks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True, help="port of the scheduler")
    parser.add_argument("--workers", type=int, default=0, help="worker processes; 0: one per core")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("distributed.comm.tcp").addFilter(is_worth_telling)
    dask.config.set(node_configuration(get_settings().home))  # nannies pass it on
    try:
        workers = arguments.workers or len(os.sched_getaffinity(0))
        asyncio.run(run_cluster(arguments.port, workers, get_settings().home))
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
