"""DIALS in a process of its own: a crash or a hang of native code costs one image, not the Dask worker.

Each answer comes as soon as it's there, so that after a crash it's known which image was being worked on. An ordinary
process pool forks or re-imports its parent's `__main__` and loses a whole batch with its worker; this is a plain
program at the end of a pipe, that ends by itself when its parent is gone.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing import Pipe
from typing import Any, Final

from blocks.errors import PlazaError
from tasks.diffraction.errors import DialsNotYet, DialsUnavailable
from tasks.diffraction.image_files.single_images import plain_names
from tasks.diffraction.requests import DiffractionOutcome, DiffractionRequest, Failure
from tasks.logs.process_output import ProcessOutput
from tasks.processes.child import how_it_ended
from tasks.step import USUAL_RETRIES

logger = logging.getLogger(__name__)

NAME = "tasks.diffraction.dials_processes.child_main"
PROGRAM = ("-m", NAME)
START_LIMIT_S = 120.0  # 1 to 2 s from a local disk, 4 s when several start at once; shared file systems are slower

ENVIRONMENT: Final = {
    # An image's arrays are as large as those of the one before. glibc would give each back to the kernel, and have it
    # filled with zeros page by page for the next image: half of what an image of 2 megapixels or more costs.
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(64 * 2**30),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
    "OMP_NUM_THREADS": "1",  # each process has a core; threads of numpy's or DIALS's libraries would fight for others'
}
"""What a DIALS process is started with, unless the site has set it. Its memory is given back when it's idle."""

_FROM_OUTSIDE = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGXCPU})
"""What no image sends: an operator does, a batch system, the kernel when memory is short."""


class ChildDied(PlazaError):
    """The DIALS process ended in the midst of its work."""


class ChildHung(ChildDied):
    """The DIALS process was ended because it gave no answer for too long."""


class ChildKilled(ChildDied):
    """The DIALS process was ended from outside: the same work may succeed later."""


class Child:
    """A DIALS process. It starts at once; the first request waits until DIALS is imported.

    Parameters
    ----------
    program
        What Python runs, with the number of the connection's file as argument.
    """

    def __init__(self, program: Sequence[str] = PROGRAM) -> None:
        self._connection, theirs = Pipe()
        # -P: a module of the current folder must not stand in for one of DIALS or of the standard library. -u: the last
        # words of a process that crashes are out by then.
        command = [sys.executable, "-uP", *program, str(theirs.fileno())]
        self._output = ProcessOutput(NAME)
        self._links = plain_names.new_folder()
        try:
            with theirs:
                self._process = subprocess.Popen(
                    command,
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=self._output.fileno(),
                    stderr=self._output.fileno(),
                    env={**ENVIRONMENT, **os.environ, plain_names.FOLDER_VARIABLE: str(self._links)},
                )
        except OSError as error:
            self._connection.close()
            self._output.close()
            raise _unavailable(f"the DIALS process did not start: {error}", USUAL_RETRIES.may_pass(error)) from error
        self._ready = False

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def wait_until_ready(self) -> None:
        """Wait until DIALS is imported.

        Raises
        ------
        DialsUnavailable
            It can't be.
        """
        if self._ready:
            return
        try:
            answer = self._receive(START_LIMIT_S)
        except ChildDied as error:
            words = self._output.last_words(self.pid)
            said = f". It said: {words}" if words else ""
            # A file system that is away makes it hang.
            may_pass = isinstance(error, ChildKilled | ChildHung)
            raise _unavailable(f"the DIALS process did not start: {error}{said}", may_pass) from error
        self._log_output("its start")
        if isinstance(answer, Failure):
            raise _unavailable(answer.reason, answer.may_pass)
        self._ready = True

    def answer(self, requests: Sequence[DiffractionRequest]) -> Iterator[DiffractionOutcome]:
        """Yield each request's outcome, in order, as soon as it's there.

        Raises
        ------
        ChildDied
            While it worked on the next request.
        """
        self.wait_until_ready()
        try:
            self._connection.send(tuple(requests))
        except OSError as error:
            raise self._death() from error
        for request in requests:
            try:
                outcome, said = self._receive(request.time_limit_s)
            except ChildDied:
                self._log_output(request.image)
                raise
            self._log_output(request.image, said)
            yield outcome
        self._output.empty()

    def _log_output(self, work: str, until: int | None = None) -> None:
        """Log what the process has said at some work; if it died of it, these are its last words."""
        for line in self._output.take(self.pid, until):
            logger.handle(replace(line, message=f"DIALS at {work}: {line.message}").to_record())

    def _receive(self, limit_s: float) -> Any:
        try:
            if self._connection.poll(limit_s):
                return self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._death() from error
        self._end()
        raise ChildHung(f"it gave no answer for {limit_s:g} s and was ended")

    def _death(self) -> ChildDied:
        """Return how the process has ended, as an error."""
        self._connection.close()
        try:
            code = self._process.wait(timeout=5)  # s; a process's files are closed a moment before it has ended
        except subprocess.TimeoutExpired:
            self._end()
            return ChildDied("it closed its connection")
        return (ChildKilled if -code in _FROM_OUTSIDE else ChildDied)(how_it_ended(code))

    def kill(self) -> None:
        """End the process at once."""
        self._end()
        self._clear_up()

    def _end(self) -> None:
        self._connection.close()
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Let the process end, by force if it doesn't within a second."""
        self._connection.close()
        try:
            self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self._end()
        self._clear_up()

    def _clear_up(self) -> None:
        self._output.close()
        shutil.rmtree(self._links, ignore_errors=True)  # one that crashed has left them behind


def _unavailable(reason: str, may_pass: bool) -> DialsUnavailable:
    return (DialsNotYet if may_pass else DialsUnavailable)(reason)
