"""As `tasks.diffraction.dials_processes.child_main`, without DIALS: it does to itself what a file's name says."""

import logging
import os
import signal
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

from tasks.diffraction.dials_processes.child_main import log_to_parent, serve
from tasks.diffraction.image_files.single_images import plain_names
from tasks.diffraction.requests import Failure, ImageAnalysis, ImageRequest, ImageStatistics, Success


class Obedient:
    def meet(self, request):
        if isinstance(request, ImageRequest):
            return self._analyse(request)
        if (
            " dies at " in request.file
            and str(request.index) in request.file.removesuffix(".h5").split(" dies at ")[1].split()
        ):
            os.kill(os.getpid(), signal.SIGSEGV)
        match request.file.split("/")[0]:
            case "segfault":
                os.write(2, b"terminate called\n")
                os.kill(os.getpid(), signal.SIGSEGV)
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "links":  # as it does for a name that dxtbx doesn't understand
                plain_names._make_link("/data/a#1.cbf")
                return Success(os.environ[plain_names.FOLDER_VARIABLE], 0.001)
            case "environment":
                return Success(dict(os.environ), 0.001)
            case "exit":
                os._exit(3)
            case "hang":
                time.sleep(600)
            case "once" if not (mark := Path(request.file.removeprefix("once"))).exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            case "noisy":
                os.write(1, b"written by native code\nin two lines\n")
                logging.getLogger("dxtbx").warning("no detector distance", extra={"distance": None})
                os.write(2, b"more\n")
            case "flood":
                os.write(2, b"x" * 10_000_000)
            case "bad":
                return Failure("it is bad")
        return Success((request.file, os.getpid()), 0.001)

    def _analyse(self, request):
        """As one whose own way dies at images that say so, and whose DIALS may."""
        if ("own dies" in request.file and request.by_dials is None) or "all die" in request.file:
            os.kill(os.getpid(), signal.SIGSEGV)
        if "own hangs" in request.file and request.by_dials is None:
            time.sleep(600)
        return Success(ImageAnalysis(ImageStatistics(-1, -1, -1, 0, 0, 0, -1, -1, 0), request.by_dials), 0.001)


if __name__ == "__main__":
    log_to_parent()
    with Connection(int(sys.argv[1])) as connection:
        if "unable" in sys.argv[0]:
            connection.send(Failure("no DIALS here", may_pass="stale" in sys.argv[0]))
        else:
            serve(connection, Obedient())
