"""What a Dask worker runs. As a preload module (`--preload tasks.diffraction.worker`) it has DIALS ready beforehand."""

from __future__ import annotations

import logging
from typing import Any

from tasks.diffraction.child import CHILDREN
from tasks.diffraction.requests import Chunk, ChunkAnswer
from tasks.relayed_log import collected_lines


def meet_requests(chunk: Chunk) -> ChunkAnswer:
    """Meet a chunk's requests in a DIALS process of this worker."""
    with collected_lines(chunk.identity) as log:
        return ChunkAnswer(CHILDREN.meet(chunk.requests), log)


def dask_setup(worker: Any) -> None:
    """Start the worker's DIALS processes, one a thread: the first image doesn't wait for DIALS to be imported."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    CHILDREN.prestart(worker.state.nthreads)


def dask_teardown(worker: Any) -> None:
    """End the worker's DIALS processes with it."""
    CHILDREN.close()
