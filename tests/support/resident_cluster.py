"""The resident Dask cluster, in processes of its own, as `plaza up` runs it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from blocks.cluster_keys import keys_folder
from blocks.settings import Settings


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def cluster_settings(home: Path, port: int) -> Settings:
    """Settings of those who use the cluster."""
    return Settings(home=home, dask_scheduler=f"tls://127.0.0.1:{port}", dask_keys=keys_folder(home))


def cluster_command(port: int, workers: int) -> list[str]:
    return [sys.executable, "-m", "flows.site.analysis_cluster", "--port", str(port), "--workers", str(workers)]


@contextmanager
def cluster_on(home: Path, port: int, workers: int = 1) -> Iterator[psutil.Process]:
    """Have the cluster of a home folder listen on a port."""
    environment = os.environ | {"PLAZA_HOME": str(home)}
    process = subprocess.Popen(cluster_command(port, workers), stderr=subprocess.DEVNULL, env=environment)
    try:
        wait_until(lambda: answers(port))
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(timeout=120)


def answers(port: int) -> bool:
    with socket.socket() as knock:
        return knock.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition: Callable[[], Any], limit_s: float = 120) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, condition
        time.sleep(0.05)


def dials_processes(process: psutil.Process) -> list[psutil.Process]:
    """The processes of DIALS below one of the cluster's."""
    found = []
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has ended since
            if "tasks.diffraction.dials_processes.child_main" in child.cmdline():
                found.append(child)
    return found
