"""Images of an HDF5 master, watched while the detector writes them (SWMR), by a child process.

A process of its own, because a process that has both the virtual dataset of a master and one of its data files
open can read the wrong image without any error (HDF5 1.10 to 2.0), because h5py holds the interpreter's lock while
a slow file system keeps it waiting, and because HDF5 can crash on a broken file.
"""

import asyncio
import json
import logging
import time
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter

from blocks.errors import MessageRefused
from tasks.file_watcher.sources import is_written
from tasks.fresh_folders import FreshFolders
from tasks.nexus.image_counter import Answer, nth_image
from tasks.nexus.layout import MappedRange
from tasks.processes.child import ChildProcess
from tasks.regular_files import unfit_kind

PROGRAM = ("-m", "tasks.nexus.image_counter")
ANSWER: TypeAdapter[Answer] = TypeAdapter(Answer)

COMPUTING_LIMIT_S = 60.0
"""Of computing, for one answer, after which the child process is taken to be in an endless loop.

HDF5 1.10 has one in a copy in the making that ends within a global heap. A look computes for a few milliseconds, or a
second where files have many thousands of images. Waiting for a slow file system is no computing.
"""

logger = logging.getLogger(__name__)


class Hdf5Images:
    """The images of an HDF5 master with a virtual dataset, such as /entry/data/data; one is there when it's stored.

    Images that the virtual dataset maps to no file are left out; the others keep the master's numbers.
    """

    noun = "images"
    nothing_named = False

    def __init__(self, master: str) -> None:
        self.expected: int | None = None
        self.waiting_for: str | None = None
        self.slowest_look_s = 0.0
        self._master = master
        self._mapped: tuple[MappedRange, ...] = ()
        self._reader: ChildProcess | None = None
        self._folders = FreshFolders()

    def is_barred(self, number: int) -> bool:
        """No image is barred."""
        return False

    def item(self, number: int) -> dict[str, Any]:
        """Return the payload of an image, but for the time; `scan_range` is what per-image analysis wants."""
        index = self._index_of(number)
        return {
            "hdf5": self._master,
            "hdf5-index": index,
            "file": self._master,
            "file-number": index + 1,
            "parameters": {"scan_range": f"{index + 1},{index + 1}"},
        }

    def missing(self, number: int) -> dict[str, Any]:
        """Return what the timeout output says of an image."""
        return {"file": self._master, "hdf5-index": self._index_of(number)}

    def _index_of(self, number: int) -> int:
        index = nth_image(self._mapped, number - 1)
        return number - 1 if index is None else index

    async def look(self, seen: int, limit: int) -> int:
        """See `Source.look`.

        Raises
        ------
        MessageRefused
            The master or a data file is not what it should be, and waiting won't help.
        """
        if self._reader is None and not await asyncio.to_thread(self._is_written):
            self.waiting_for = f"{self._master}, which isn't there"
            return 0
        started = time.perf_counter()
        answer = await self._ask({"seen": seen, "limit": limit})
        if answer is None:
            self.waiting_for = (
                f"{self._master}, which can't be read yet (HDF5 came to no end with it or with a data file)"
            )
            return 0
        self.slowest_look_s = max(self.slowest_look_s, time.perf_counter() - started)
        self.expected, self.waiting_for, self._mapped = answer.expected, answer.waiting_for, answer.mapped
        return answer.found

    def _is_written(self) -> bool:
        written = is_written(self._master) or (self._folders.ask_again(self._master) and is_written(self._master))
        if written and (kind := unfit_kind(self._master)):
            raise MessageRefused(f"{self._master} {kind}; expected an HDF5 master")
        return written

    async def close(self) -> None:
        """Stop the child process, which ends when it has nothing to answer."""
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close()

    async def _ask(self, question: dict[str, int]) -> Answer | None:
        """Ask the child process; None if it came to no end, and was ended."""
        # Once more: a process may be killed by no fault of its file, when memory is short.
        for _ in range(2):
            self._reader = self._reader or await self._start_reader()
            answer = await _ask_within_limit(self._reader, json.dumps(question).encode())
            self._log_output(self._reader)
            if answer is None:
                await self._reader.kill()
                self._reader = None
                return None
            if answer:
                return _read(answer)
            await self.close()
        raise MessageRefused(
            f"the process that reads {self._master} died twice in a row (its last words are in the log): "
            "check the file and its data files with h5ls, and the machine's memory"
        )

    async def _start_reader(self) -> ChildProcess:
        return await ChildProcess.start((*PROGRAM, self._master), __name__)

    def _log_output(self, reader: ChildProcess) -> None:
        """Log what the process has said; if it died, these are its last words."""
        for line in reader.take_output():
            logger.handle(replace(line, message=f"reader of {self._master}: {line.message}").to_record())


async def _ask_within_limit(reader: ChildProcess, question: bytes) -> bytes | None:
    """Return the answer, empty if the process is gone; None if it has computed for too long without one."""
    computed_s = reader.cpu_s
    asking = asyncio.create_task(reader.ask(question))
    try:
        while not asking.done():
            await asyncio.wait([asking], timeout=COMPUTING_LIMIT_S / 10)
            if not asking.done() and reader.cpu_s - computed_s > COMPUTING_LIMIT_S:
                return None
        return await asking
    finally:
        asking.cancel()


def _read(line: bytes) -> Answer:
    """Read the process's answer; raises MessageRefused with what it says of a file that it can't use."""
    content = json.loads(line)
    if "error" in content:
        raise MessageRefused(content["error"])
    return ANSWER.validate_python(content)
