"""What a Dask worker runs. As a preload module (`--preload tasks.diffraction.worker`) it has DIALS ready beforehand."""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from tasks.diffraction.chunking import CHUNK_S
from tasks.diffraction.dials_processes.child_pool import CHILDREN
from tasks.diffraction.errors import DialsUnavailable
from tasks.diffraction.requests import Chunk, ChunkAnswer, DiffractionOutcome
from tasks.logs.relay import collected_lines
from tasks.logs.run_log import IdentityPrefix

LONGEST_S: Final = 2 * CHUNK_S  # of a chunk, as images may take longer than those before it let expect
AT_A_TIME: Final = 8  # images, after which it's looked at the clock


def meet_requests(chunk: Chunk) -> ChunkAnswer:
    """Meet a chunk's requests in a DIALS process of this worker; the first of them, if they take too long.

    Raises
    ------
    DialsUnavailable
        No DIALS process can be started, and none has met a request.
    """
    end = time.monotonic() + LONGEST_S
    outcomes: list[DiffractionOutcome] = []
    with collected_lines(chunk.identity) as log:
        while len(outcomes) < len(chunk.requests):
            done = len(outcomes)
            try:
                outcomes += CHILDREN.meet(chunk.requests[done : done + AT_A_TIME], chunk.poison)
            except DialsUnavailable:
                if not outcomes:
                    raise
                break
            if time.monotonic() > end:
                break
        return ChunkAnswer(outcomes, log)


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
