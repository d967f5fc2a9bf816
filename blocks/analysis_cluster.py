"""The Dask cluster for per-image analysis: a scheduler somewhere, or a cluster within the process."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blocks.cluster_keys import security
from blocks.errors import ConfigurationError, PassingFault
from blocks.settings import Settings

if TYPE_CHECKING:
    from distributed import Client
    from distributed.security import Security

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
    # Nothing is served by HTTP (`blocks.cluster_nodes`), so nothing is imported for it
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
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
    AnalysisClusterUnavailable, ConfigurationError
        As `connect_to_scheduler` does.
    """
    if settings.dask_scheduler:
        async with connect_to_scheduler(settings.dask_scheduler, settings.dask_keys) as client:
            yield client
    else:
        async with connect_locally(settings.home, settings.analysis_workers) as client:
            yield client


def node_configuration(home: Path) -> dict[str, Any]:
    """Return Dask's configuration of a scheduler and its workers, which make their folders in the home folder.

    Dask's own choice is a folder in /tmp whose name others may take first.
    """
    return DASK_CONFIGURATION | {"temporary-directory": str(home / "dask")}


@asynccontextmanager
async def connect_to_scheduler(address: str, keys: Path | None = None) -> AsyncIterator[Client]:
    """Yield an asynchronous client of the scheduler at an address such as tls://127.0.0.1:8786.

    Parameters
    ----------
    keys
        Folder of its keys; None: as Dask's own configuration says.

    Raises
    ------
    AnalysisClusterUnavailable
        Nothing answers within some seconds, or it refuses the keys.
    ConfigurationError
        There are no keys, or they can't be read.
    """
    import dask
    from distributed import Client

    secured = _security_for(address, keys)

    try:
        with dask.config.set(DASK_CONFIGURATION):
            # Not as the process's default: what shares the process may have a client of its own.
            client = await Client(
                address, asynchronous=True, timeout=CONNECT_LIMIT_S, set_as_default=False, security=secured
            )
    except (OSError, TimeoutError, ValueError) as error:
        raise AnalysisClusterUnavailable(
            f"no Dask scheduler answers at {address} ({type(error).__name__}: {error}). Start one with `plaza up`, or "
            "unset PLAZA_DASK_SCHEDULER, for images to be analysed on this machine"
        ) from error
    try:
        yield client
    finally:
        await client.close()


def _security_for(address: str, keys: Path | None) -> Security:
    """Return how to speak with a scheduler; what Dask says of an address that its keys don't fit isn't clear."""
    secured = security(keys)
    arguments = secured.get_connection_args("client")
    if address.startswith("tls://") and arguments["ssl_context"] is None:
        raise ConfigurationError(
            f"there are no keys for the Dask scheduler at {address}: name their folder by PLAZA_DASK_KEYS, or their "
            "files in Dask's own configuration (distributed.comm.tls)"
        )
    if not address.startswith("tls://") and arguments["require_encryption"]:
        raise ConfigurationError(
            f"the Dask scheduler's address {address} is for unencrypted connections, but PLAZA_DASK_KEYS or Dask's own "
            "configuration (distributed.comm.require-encryption) asks for others: expected tls://HOST:PORT"
        )
    return secured


@asynccontextmanager
async def connect_locally(home: Path, workers: int = 0) -> AsyncIterator[Client]:
    """Yield an asynchronous client of a cluster within this process, which opens no port.

    Parameters
    ----------
    home
        The home folder, in which the nodes make theirs.
    workers
        How many, of one thread each; 0: one per core.
    """
    import dask
    from distributed import Client, SpecCluster

    from blocks.cluster_nodes import ClusterScheduler, ClusterWorker

    # How a scheduler and its workers greet each other within a process is of no interest to a recipe run's log.
    logging.getLogger("distributed").setLevel(logging.WARNING)
    within = {"protocol": "inproc://", "dashboard": False, "dashboard_address": None}
    worker = {
        **within,
        "nthreads": 1,
        "memory_limit": 0,  # images are in the DIALS processes: watching this process's memory would be idle
        "preload": [WORKER_PRELOAD],
    }
    names = range(workers or len(os.sched_getaffinity(0)))
    with dask.config.set(node_configuration(home)):
        cluster = await SpecCluster(  # a LocalCluster's scheduler would have an HTTP port
            scheduler={"cls": ClusterScheduler, "options": within},
            workers={name: {"cls": ClusterWorker, "options": worker} for name in names},
            asynchronous=True,
            silence_logs=False,  # else it changes the levels of logging for the whole process
        )
    async with cluster:
        with dask.config.set(DASK_CONFIGURATION):
            client = await Client(cluster, asynchronous=True, set_as_default=False)
        async with client:
            yield client
