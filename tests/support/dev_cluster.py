"""Services of the tests' own, run by deployments/dev-cluster."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkout import CHECKOUT

DEV_CLUSTER = CHECKOUT / "deployments" / "dev-cluster"
WHERE_PROGRAMS_ARE = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"


class DevCluster:
    """The script, on a folder of its own; by another user, say."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder, self._options = folder, options
        self.environment = {**os.environ, "PLAZA_DEV_CLUSTER": str(folder)}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        command = [DEV_CLUSTER, *arguments]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=240, **self._options
        )

    def __call__(self, *arguments: str) -> str:
        """Run a command, which has to succeed, and return what it says."""
        done = self.run(*arguments)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout + done.stderr

    def exports(self, service: str) -> dict[str, str]:
        """Return the environment variables with which a service is found."""
        return dict(re.findall(r"^export (\w+)=(\S+)$", self("env", service), re.MULTILINE))

    def process(self, service: str) -> int:
        """Return the id of a service's process."""
        said = self.run("status", service).stderr
        found = re.search(r"process (\d+)", said)
        assert found, said
        return int(found[1])


@contextmanager
def cluster_until_the_end(folder: Path, service: str, program: str) -> Iterator[DevCluster]:
    """Give a cluster in which a service ends with the tests, even if those are killed; skip if it can't be had."""
    if not shutil.which(program, path=WHERE_PROGRAMS_ARE) and os.getuid() != 0:
        pytest.skip(f"{program} isn't installed; as root: deployments/dev-cluster install {service}")
    cluster = DevCluster(folder)
    # waits for the end of the tests, however that comes: then its standard input is closed
    cleaner = subprocess.Popen(
        ["sh", "-c", f"cat; exec '{DEV_CLUSTER}' down {service} --wipe"],
        env=cluster.environment, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        yield cluster
    finally:
        cleaner.communicate(timeout=180)


def kill(process: int) -> None:
    """End a process as a power cut would, and wait until it's gone."""
    os.kill(process, signal.SIGKILL)
    while command_line(process):
        time.sleep(0.005)


@contextmanager
def frozen(process: int) -> Iterator[None]:
    """Have a process hang: it takes connections, or rather the system does, but doesn't answer."""
    os.kill(process, signal.SIGSTOP)
    try:
        while not _is_stopped(process):  # a thread that is at work may go on for a moment, and answer
            time.sleep(0.001)
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def command_line(process: int) -> bytes:
    """Return a process's command line; nothing of one that has ended, also if nobody has asked how."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


def _is_stopped(process: int) -> bool:
    """Tell whether all threads of a process are stopped."""
    try:
        stats = [file.read_text() for file in Path(f"/proc/{process}/task").glob("*/stat")]
    except OSError:  # of a thread that has just ended
        return False
    return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)
