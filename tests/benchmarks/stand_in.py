"""An analysis cluster whose DIALS processes only compute for as long as they are told: what is left is the pipeline.

    python -m tests.benchmarks.stand_in cluster HOME PORT WORKERS      (PLAZA_BENCH_IMAGE_MS: CPU time of an image)

It's the site's own cluster, Dask workers and connections included; each child answers with the statistics of an image.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from tasks.diffraction.dials_processes.child_main import log_to_parent, serve
from tasks.diffraction.dials_processes.child_pool import ChildPool
from tasks.diffraction.requests import (
    DiffractionOutcome,
    DiffractionRequest,
    ImageAnalysis,
    ImageRequest,
    ImageStatistics,
    Success,
)
from tasks.processes.ties import end_with_parent

IMAGE_MS = "PLAZA_BENCH_IMAGE_MS"


class StandIn:
    """Meets requests by computing for some milliseconds."""

    def __init__(self) -> None:
        self._image_s = float(os.environ.get(IMAGE_MS, "5")) / 1000
        self._spots = itertools.count()

    def meet(self, request: DiffractionRequest) -> DiffractionOutcome:
        """Answer with an image's statistics, or that a preview was drawn."""
        start = time.perf_counter()
        compute(self._image_s)
        value = self._statistics() if isinstance(request, ImageRequest) else None
        return Success(value, time.perf_counter() - start)

    def _statistics(self) -> ImageAnalysis:
        spots = next(self._spots) % 300
        return ImageAnalysis(ImageStatistics(1.87, 1.93, 1.8812345, spots // 3, spots, spots, 0.2, 0.1, 123456.5))


def compute(seconds: float) -> None:
    """Use so many seconds of CPU time."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


@contextmanager
def stand_in_cluster(home: Path, workers: int, image_ms: float) -> Iterator[tuple[str, Path]]:
    """Have such a cluster; yields the scheduler's address and the folder of its keys."""
    import subprocess

    from blocks.cluster_keys import keys_folder

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", __spec__.name, "cluster", str(home), str(port), str(workers)]
    environment = {**os.environ, IMAGE_MS: str(image_ms), "PLAZA_HOME": str(home)}
    process = subprocess.Popen(command, env=environment)
    try:
        _await_port(port)
        yield f"tls://127.0.0.1:{port}", keys_folder(home)
    finally:
        process.terminate()
        process.wait()


def _await_port(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if any(
            found.laddr.port == port and found.status == psutil.CONN_LISTEN for found in psutil.net_connections("tcp")
        ):
            return
        time.sleep(0.1)
    raise TimeoutError(f"no scheduler listens on port {port}")


def dask_setup(worker: Any) -> None:
    """Have a Dask worker use children of this program."""
    from tasks.diffraction import worker as product

    product.CHILDREN = ChildPool(("-m", "tests.benchmarks.stand_in"))
    product.dask_setup(worker)


def dask_teardown(worker: Any) -> None:
    """End the children with their worker."""
    from tasks.diffraction import worker as product

    product.dask_teardown(worker)


def main() -> None:
    """Be a child, or a cluster."""
    if sys.argv[1] != "cluster":
        log_to_parent()
        with Connection(int(sys.argv[1])) as connection:
            serve(connection, StandIn())  # type: ignore[arg-type]
        return
    end_with_parent(os.getppid())
    import dask

    from blocks.analysis_cluster import node_configuration
    from flows.site import analysis_cluster

    analysis_cluster.WORKER_PRELOAD = "tests.benchmarks.stand_in"  # type: ignore[attr-defined]
    home, port, workers = Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    dask.config.set(node_configuration(home))
    asyncio.run(analysis_cluster.run_cluster(port, workers, home))


if __name__ == "__main__":
    main()
