"""What a Dask worker runs. As a preload module (`--preload tasks.diffraction.worker`) it has DIALS ready beforehand."""

from __future__ import annotations

import logging
from typing import Any

from tasks.diffraction.dials_processes.child_pool import CHILDREN
from tasks.diffraction.requests import Chunk, ChunkAnswer
from tasks.logs.relay import collected_lines
from tasks.logs.run_log import IdentityPrefix


def meet_requests(chunk: Chunk) -> ChunkAnswer:
    """Meet a chunk's requests in a DIALS process of this worker."""
    with collected_lines(chunk.identity) as log:
        return ChunkAnswer(CHILDREN.meet(chunk.requests, chunk.poison), log)


def dask_setup(worker: Any) -> None:
    """Start the worker's DIALS processes, one a thread: the first image doesn't wait for DIALS to be imported."""
    # What a chunk logs goes back with its results; if the worker is lost, it's still on its standard error.
    handler = logging.StreamHandler()
    handler.setFormatter(IdentityPrefix(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    CHILDREN.prestart(worker.state.nthreads)


def dask_teardown(worker: Any) -> None:
    """End the worker's DIALS processes with it."""
    CHILDREN.close()
