"""A DIALS process: `python -m tasks.diffraction.dials_processes.child_main FD` meets requests from a connection.

It says READY once DIALS is imported. Then each message is a tuple of requests, each of which is answered with one
outcome as soon as it's met. It ends when its parent closes the connection, or is gone.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import logging
import os
import signal
import sys
import time
import traceback
from multiprocessing.connection import Connection

from blocks.errors import PlazaError
from tasks.diffraction.requests import (
    ContentRequest,
    DiffractionOutcome,
    DiffractionRequest,
    Failure,
    ImageRequest,
    PreviewRequest,
    SpotFindingOptions,
    SpotPictureRequest,
    Success,
)
from tasks.logs.line import LogLineFormatter
from tasks.step import USUAL_RETRIES

READY = "ready"
IDLE_S = 5.0  # after which a process that has nothing to do gives its free memory back
_ANALYSERS = 8  # one for each set of options that recipes use; each keeps a mask as large as the detector


def main() -> None:
    """Serve until the parent hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes the connection
    # DIALS reports each step of each image at INFO, and formats what nobody reads.
    logging.disable(logging.INFO)
    log_to_parent()
    # Before HDF5 is loaded: dxtbx's own handles must not keep a detector from its files, nor need a lock daemon.
    os.environ["HDF5_USE_FILE_LOCKING"] = "FALSE"
    with Connection(int(sys.argv[1])) as connection:
        try:
            handler = RequestHandler()
        except Exception as error:
            reason = f"DIALS can't be imported by {sys.executable}:\n{traceback.format_exc()}"
            connection.send(Failure(reason, USUAL_RETRIES.may_pass(error)))
            return
        gc.freeze()  # all that DIALS's import has made stays: the collector needn't go through it again and again
        serve(connection, handler)


def log_to_parent() -> None:
    """Write warnings and worse, and the stack at a crash, to standard error, which the parent reads."""
    handler = logging.StreamHandler()
    handler.setFormatter(LogLineFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.captureWarnings(True)
    faulthandler.enable()


def serve(connection: Connection, handler: RequestHandler) -> None:
    """Say that all is ready, then answer requests: an outcome each, and where in standard error its lines end."""
    by_dials = False
    try:
        connection.send(READY)
        while True:
            if not connection.poll(IDLE_S):
                give_memory_back()
            for request in connection.recv():
                outcome = handler.meet(request)
                connection.send((outcome, os.fstat(sys.stderr.fileno()).st_size))
                by_dials, before = takes_dials_memory(request, outcome), by_dials
                if before and not by_dials:
                    give_memory_back()
    except (EOFError, ConnectionError):
        return


def takes_dials_memory(request: DiffractionRequest, outcome: DiffractionOutcome) -> bool:
    """Tell whether DIALS did an image, or checked it: that takes some 36 bytes a pixel, Plaza's own way 10.

    Where it does one in many, as a check, the others needn't have as much: the next image gives it back. Where it does
    all, they are kept for the next one.
    """
    if not isinstance(request, ImageRequest):
        return False
    is_left_to_dials = isinstance(outcome, Success) and outcome.value.by_dials is not None
    return request.check or request.by_dials is not None or is_left_to_dials


def give_memory_back() -> None:
    """Give the kernel what `malloc` keeps for the next image: there may be none for days."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


class RequestHandler:
    """Meets requests, and keeps data sets, and analysers with their options, from one to the next."""

    def __init__(self) -> None:
        from tasks.diffraction import analyser
        from tasks.diffraction.image_files import stored_images
        from tasks.diffraction.image_files.data_sets import DataSets
        from tasks.diffraction.pictures import bitmaps, spot_picture

        self._make_analyser = analyser.Analyser
        self._draw_preview = bitmaps.draw_preview
        self._list_stored = stored_images.list_stored
        self._picture_spots = spot_picture.picture_spots
        self._data_sets = DataSets()
        self._analysers: dict[SpotFindingOptions, analyser.Analyser] = {}

    def meet(self, request: DiffractionRequest) -> DiffractionOutcome:
        """Meet a request, or say why it can't be met."""
        start = time.perf_counter()
        try:
            return Success(self._do(request), time.perf_counter() - start)
        except PlazaError as error:
            return Failure(str(error), USUAL_RETRIES.may_pass(error))
        except Exception as error:
            logging.getLogger(__name__).exception("%s", request)
            return Failure(f"{type(error).__name__}: {error} ({request.file})", USUAL_RETRIES.may_pass(error))

    def _do(self, request: DiffractionRequest) -> object:
        if isinstance(request, PreviewRequest):
            return self._draw_preview(request, self._data_sets)
        if isinstance(request, ContentRequest):
            return self._list_stored(request, self._data_sets)
        if isinstance(request, SpotPictureRequest):
            return self._picture_spots(request, self._data_sets)
        assert isinstance(request, ImageRequest)
        if request.options not in self._analysers:
            if len(self._analysers) >= _ANALYSERS:
                self._analysers.pop(next(iter(self._analysers)))
            self._analysers[request.options] = self._make_analyser(request.options, self._data_sets)
        return self._analysers[request.options].examine(request)


if __name__ == "__main__":
    main()
