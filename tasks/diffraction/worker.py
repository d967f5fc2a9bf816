"""What a Dask worker runs. As a preload module (`--preload tasks.diffraction.worker`) it has DIALS ready beforehand."""

from __future__ import annotations

from typing import Any

from tasks.diffraction.child import CHILDREN
from tasks.diffraction.requests import Chunk, Outcome


def meet_requests(chunk: Chunk) -> list[Outcome]:
    """Meet a chunk's requests in a DIALS process of this worker; one outcome each, in order."""
    return CHILDREN.meet(chunk.requests)


def dask_setup(worker: Any) -> None:
    """Start the worker's DIALS processes, one a thread: the first image doesn't wait for DIALS to be imported."""
    CHILDREN.prestart(worker.state.nthreads)


def dask_teardown(worker: Any) -> None:
    """End the worker's DIALS processes with it."""
    CHILDREN.close()
