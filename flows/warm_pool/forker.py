"""The worker's end of the fork server: start it, have it fork, notice when it dies."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import count
from pathlib import Path

from blocks.errors import ConfigurationError, PassingFault
from blocks.home_folder import make_folder
from flows.mimas.rules.discovery import AREAS, area_module
from flows.warm_pool.fork_server import ForkRequest
from tasks.step.registry import STEPS

logger = logging.getLogger(__name__)

# what the site's flows import sooner or later; nothing that has DIALS or HDF5, whose state doesn't survive a fork
FLOW_MODULES = (
    "distributed",
    "flows.events.dispatcher_step",
    "flows.events.pickup",
    "flows.launching",
    "flows.mimas.flow",
    *map(area_module, AREAS),  # a site's rules each run loads itself: they may have changed
    "flows.recipe.catalogue",
    "flows.recipe.flow",
    "flows.recipe.merged",
    "gemmi",
    "tasks.ispyb_access.reading.reader",
    "tenacity",
    *sorted({step.partition(":")[0] for step in STEPS.values()}),
)

_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # numpy's, which it starts when it's imported
_LOST = -9  # what a child's exit status is taken for when nobody is left to tell it
_LOG_LIMIT = 10_000_000  # bytes


class ForkServerLost(PassingFault):
    """The fork server ended while it was asked to fork."""


class ForkedProcess:
    """A child of the fork server, with the attributes of a process that Prefect's supervision looks at."""

    def __init__(self) -> None:
        self.pid = 0
        self.returncode: int | None = None
        self.has_started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.has_ended = asyncio.Event()

    async def wait(self) -> int | None:
        """Wait until it has ended and return its exit status."""
        await self.has_ended.wait()
        return self.returncode


class Forker:
    """Own a fork server, start it again when it has died.

    Parameters
    ----------
    modules
        What the fork server imports besides Prefect.
    output
        File to which all runs append what they print; the one before it is kept as `….1`.
    """

    def __init__(self, modules: Sequence[str], output: Path) -> None:
        self._modules = tuple(modules)
        self._output = output
        self._keys = count(1)
        self._starting = asyncio.Lock()
        self._server: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._listener: asyncio.Task[None] | None = None
        self._children: dict[str, ForkedProcess] = {}
        self._is_stopping = False

    @property
    def pid(self) -> int | None:
        """Process id of the fork server while it lives."""
        return self._server.pid if self._server is not None and self._writer is not None else None

    async def start(self) -> None:
        """Start the fork server unless it runs; returns when it has imported its modules.

        Raises
        ------
        ConfigurationError
            A module can't be imported.
        """
        async with self._starting:
            if self._writer is not None:
                return
            ours, theirs = socket.socketpair()
            with theirs:
                program = ("-m", "flows.warm_pool.fork_server")
                command = [sys.executable, "-P", *program, str(theirs.fileno()), *self._modules]
                # not an asyncio process: its end is seen on the socket. A session of its own: Ctrl-C is the worker's
                self._server = subprocess.Popen(
                    command, pass_fds=[theirs.fileno()], start_new_session=True, env={**os.environ, **_ONE_THREAD}
                )
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=1 << 20)
            first = json.loads(await reader.readline() or b'{"failed": "it ended without a word"}')
            if "ready" not in first:
                writer.close()
                await asyncio.to_thread(self._server.wait)
                raise ConfigurationError(
                    f"the fork server can't start with the modules {', '.join(self._modules)}: {first['failed']}. "
                    "Mend or remove the module, then start the worker again"
                )
            self._writer = writer
            self._listener = asyncio.create_task(self._listen(reader))

    async def fork(self, environment: Mapping[str, str], directory: Path, title: str) -> ForkedProcess:
        """Fork a child that runs a flow run; returns as soon as there is one.

        Parameters
        ----------
        environment
            All of the child's; `PREFECT__FLOW_RUN_ID` says which run.
        directory
            Where it's started.
        title
            The name of its process.

        Raises
        ------
        ForkServerLost
            The fork server ended before it had forked.
        ConfigurationError
            There is none, and another one can't start.
        """
        await self.start()
        assert self._writer is not None
        self._rotate_log()
        key, child = str(next(self._keys)), ForkedProcess()
        self._children[key] = child
        request = ForkRequest(key, dict(environment), str(directory), str(self._output), title)
        self._writer.write(json.dumps(asdict(request)).encode() + b"\n")
        await child.has_started
        return child

    async def stop(self, grace: float = 10.0) -> None:
        """End all runs (SIGTERM, after `grace` seconds SIGKILL), then the fork server."""
        self._is_stopping = True
        if self._writer is None or self._server is None or self._listener is None:
            return
        self._writer.write(json.dumps({"stop": grace}).encode() + b"\n")
        await asyncio.gather(*(child.wait() for child in self._children.values()))
        self._writer.close()
        await asyncio.to_thread(self._server.wait)
        await self._listener

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                self._handle_report(json.loads(line))
        except ConnectionError as error:
            logger.warning("the connection to the fork server broke: %s", error)
        assert self._server is not None
        status = await asyncio.to_thread(self._server.wait)
        if self._writer is not None:
            self._writer.close()
        self._writer = None
        if not self._is_stopping:
            logger.error(
                "the fork server ended (status %d) with %d runs: starting another", status, len(self._children)
            )
        for key in list(self._children):  # the kernel has killed them: see flows.warm_pool.fork_server
            self._end(key, _LOST)
        if not self._is_stopping:
            try:
                await self.start()
            except ConfigurationError:
                logger.exception("no fork server; the next run tries again")

    def _handle_report(self, report: dict[str, object]) -> None:
        key = str(report["run"])
        if "pid" in report:
            child = self._children[key]
            child.pid = int(str(report["pid"]))
            if not child.has_started.done():
                child.has_started.set_result(None)
        else:
            self._end(key, int(str(report["exit"])))

    def _end(self, key: str, status: int) -> None:
        child = self._children.pop(key)
        child.returncode = status
        child.has_ended.set()
        if not child.has_started.done():
            child.has_started.set_exception(ForkServerLost("the fork server ended before it forked; run it again"))

    def _rotate_log(self) -> None:
        make_folder(self._output.parent)
        if self._output.exists() and self._output.stat().st_size > _LOG_LIMIT:
            self._output.replace(self._output.with_name(f"{self._output.name}.1"))
