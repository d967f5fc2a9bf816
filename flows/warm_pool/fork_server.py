"""The fork server: a process that has imported everything and forks a child for each flow run.

    python -m flows.warm_pool.fork_server SOCKET_FD MODULE…

It has one thread, one socket to its worker and no event loop, so that its children start clean. One JSON object a line:
it receives `ForkRequest`s and `{"stop": seconds}`. It sends `{"ready": pid}` or `{"failed": why}` once, then for each
run `{"run": key, "pid": …}` and, when it ends, `{"run": key, "exit": status}`.

When the worker goes away its children finish their runs first, and the next worker finds them by their titles
(`flows.warm_pool.run_processes`). When the fork server itself dies they die with it: the worker has reported their
runs as crashed and another process may take them up.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import logging
import os
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

import setproctitle

from flows.warm_pool.run_processes import SERVER_TITLE
from tasks.logs.run_log import PLAZA_LOGGERS
from tasks.processes.ties import end_with_parent

_UNFIT = ("dxtbx", "h5py")  # HDF5 and DIALS


def preload(modules: Sequence[str]) -> None:
    """Import modules for the children to share, and freeze them out of garbage collection.

    Raises
    ------
    ImportError
        A module is missing or fails.
    RuntimeError
        A module started a thread, in Python or in a library: a child would inherit its locks without the thread that
        frees them. Or it brought in a library whose state doesn't survive a fork.
    """
    for module in modules:
        importlib.import_module(module)
    threads = (
        len(list(Path("/proc/self/task").iterdir())) - 1
    )  # the kernel's own list: a library's have no name in Python
    if threads:
        names = ", ".join(thread.name for thread in threading.enumerate()[1:]) or "of a library"
        raise RuntimeError(
            f"importing {', '.join(modules)} started {threads} threads ({names}), which don't survive a fork: "
            "start them where they're first used"
        )
    unfit = [module for module in _UNFIT if module in sys.modules]
    if unfit:
        raise RuntimeError(
            f"importing {', '.join(modules)} brought in {', '.join(unfit)}, which doesn't survive a fork: "
            "import it where it's used"
        )
    gc.collect()
    gc.freeze()  # else a child's first collection would write to every object, and so copy all that it shares


@dataclass(frozen=True)
class ForkRequest:
    """A flow run that is to be forked.

    Parameters
    ----------
    run
        What the worker calls it; the run's id is in `environment`.
    directory
        Where it's started.
    output
        The file to which it appends what it prints.
    title
        The name of its process, by which it's found.
    """

    run: str
    environment: Mapping[str, str]
    directory: str
    output: str
    title: str


@dataclass(frozen=True)
class _Child:
    key: str
    pid: int


class ForkServer:
    """Serve fork requests from one socket until it's closed and the last child has ended."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(connection, selectors.EVENT_READ)
        self._children: dict[int, _Child] = {}
        self._kill_at: float | None = None
        self._is_open = True

    def serve(self) -> None:
        """Fork, and report ends, until the worker has gone away."""
        self._send({"ready": os.getpid()})
        while self._is_open or self._children:
            for key, _ in self._selector.select(self._time_until_kill()):
                if key.fileobj is self._connection:
                    self._receive()
                else:
                    self._reap(int(key.fd))
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                self._signal_children(signal.SIGKILL)
                self._kill_at = None

    def _time_until_kill(self) -> float | None:
        return None if self._kill_at is None else max(0.0, self._kill_at - time.monotonic())

    def _receive(self) -> None:
        try:
            received = self._connection.recv(1 << 16)
        except ConnectionError:  # the worker was killed before it had read what it was sent
            received = b""
        if not received:
            self._is_open = False
            self._selector.unregister(self._connection)
            return
        *lines, self._received = (self._received + received).split(b"\n")
        for line in lines:
            request = json.loads(line)
            if "stop" in request:
                self._signal_children(signal.SIGTERM)
                self._kill_at = time.monotonic() + request["stop"]
            else:
                self._fork(ForkRequest(**request))

    def _send(self, what: dict[str, Any]) -> None:
        with suppress(OSError):  # the worker has gone away: its runs report themselves
            self._connection.sendall(json.dumps(what).encode() + b"\n")

    def _fork(self, request: ForkRequest) -> None:
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._connection.close()
            self._selector.close()
            _run_child(request, server)
        ended = os.pidfd_open(pid)  # readable when the child has ended: no SIGCHLD, and no thread that waits
        self._children[ended] = _Child(request.run, pid)
        self._selector.register(ended, selectors.EVENT_READ)
        self._send({"run": request.run, "pid": pid})

    def _reap(self, ended: int) -> None:
        child = self._children.pop(ended)
        self._selector.unregister(ended)
        os.close(ended)
        # What the run left behind in its process group. Not reaped yet, its number is nobody else's
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        _, status = os.waitpid(child.pid, 0)
        self._send({"run": child.key, "exit": os.waitstatus_to_exitcode(status)})

    def _signal_children(self, signal_number: int) -> None:
        for child in self._children.values():
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal_number)


def _run_child(request: ForkRequest, server: int) -> NoReturn:
    """Be the child: run the flow run, then end as an interpreter would, but without its parent's exit handlers."""
    status = 1
    try:
        _set_up_child(request, server)
        from flows.warm_pool._prefect_private import run_flow_run

        status = run_flow_run(UUID(request.environment["PREFECT__FLOW_RUN_ID"]))
    finally:
        # What an interpreter does at its end; sys.exit() would go up the fork server's own stack
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001
        atexit._run_exitfuncs()  # noqa: SLF001  # sends the last logs and events
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # a full disk; what's raised here would go up the fork server's stack
                stream.flush()
        os._exit(status)


def _set_up_child(request: ForkRequest, server: int) -> None:
    """Give a fresh child its own session, environment, folder, output and name."""
    os.setsid()  # a group of its own, by which it's ended with all that it starts
    end_with_parent(server, signal.SIGKILL)
    setproctitle.setproctitle(request.title)  # before all that may fail or take long: by it the run is found
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request.environment)
    os.chdir(request.directory)
    with suppress(OSError):  # no room for a new file: what the run prints goes where the fork server's own output goes
        output = os.open(request.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)


def main(descriptor: int, modules: Sequence[str]) -> int:
    """Preload and serve on an inherited socket."""
    from flows.warm_pool._prefect_private import ENGINE_MODULES

    for name in PLAZA_LOGGERS:  # Prefect gives them its handlers, but leaves them at WARNING
        logging.getLogger(name).setLevel(logging.INFO)
    # Now: once a child has a new environment, the room for it can't be found. `plaza status` tells the two titles apart
    setproctitle.setproctitle(f"{SERVER_TITLE} starts")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is the worker's to handle
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends when the worker has gone and its children are done
    with socket.socket(fileno=descriptor) as connection:
        try:
            preload([*ENGINE_MODULES, *modules])
        except Exception as error:
            connection.sendall(json.dumps({"failed": f"{type(error).__name__}: {error}"}).encode() + b"\n")
            raise
        setproctitle.setproctitle(SERVER_TITLE)
        ForkServer(connection).serve()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]), sys.argv[2:]))
