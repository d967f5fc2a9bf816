"""What the services have in common: programs, processes, ports, and files that are ours alone."""

from __future__ import annotations

import hashlib
import os
import random
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
HOME = Path(os.environ.get("PLAZA_HOME") or CHECKOUT / ".plaza").absolute()
FOLDER = Path(os.environ.get("PLAZA_DEV_CLUSTER") or HOME / "dev-cluster").absolute()
LOWEST_PORT, HIGHEST_PORT = 10_000, 65_536
# Debian's packages start a service as they are installed, unless this program says no
WITHOUT_DAEMONS = """
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    trap 'exit 130' HUP INT TERM
    printf '#!/bin/sh\\nexit 101\\n' >$policy
    chmod 755 $policy
fi
"$@"
"""


class DevClusterError(Exception):
    """What stands in the way, and what to do."""


def say(text: str) -> None:
    """Tell the person; standard output is for `env`."""
    print(f"dev-cluster: {text}", file=sys.stderr, flush=True)


def install(packages: dict[str, str]) -> None:
    """Install Debian packages, given with a program that each brings, as far as those are missing."""
    missing = [package for package, program in packages.items() if not find_program(program)]
    if not missing:
        return
    as_root = [] if os.getuid() == 0 else ["sudo", "-n"]
    by_hand = f"apt-get install --no-install-recommends {' '.join(missing)}"
    if not shutil.which("apt-get") or (as_root and subprocess.run([*as_root, "true"], capture_output=True).returncode):
        raise DevClusterError(f"{', '.join(missing)} isn't installed and can't be from here; have root do: {by_hand}")
    say(f"installing {', '.join(missing)}")
    apt = [*as_root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"]
    run([*apt, "update"])
    run(
        [
            *as_root,
            "sh",
            "-c",
            WITHOUT_DAEMONS,
            "sh",
            *apt[len(as_root) :],
            "install",
            "-y",
            "--no-install-recommends",
            *missing,
        ]
    )


def find_program(name: str) -> str | None:
    """Look for a program where an ordinary user's PATH doesn't."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/usr/libexec")


def run(command: list[str], stdin: str = "", environment: dict[str, str] | None = None) -> str:
    """Run a command to its end and return what it says."""
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, env={**os.environ, **(environment or {})}
    )
    if done.returncode:
        raise DevClusterError(f"{shlex.join(command)} failed: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def running(pid_file: Path, mark: str) -> int | None:
    """Return the id of the process that a file names, if it runs with the mark in its command line."""
    try:
        pid = int(pid_file.read_text())
    except (OSError, ValueError):
        return None
    return pid if is_running(pid, mark) else None


def is_running(pid: int, mark: str) -> bool:
    """Tell whether a process runs with the mark in its command line.

    `kill -0` is not enough: the id may be another's by now, or a zombie's where process 1 reaps late.
    """
    try:
        return mark.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def wait_for(condition: Callable[[], object], seconds: float) -> bool:
    """Tell whether something comes true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def remembered(file: Path, make: Callable[[], str]) -> str:
    """Read what is kept in a file that only we can read, after making it the first time."""
    if not file.exists():
        keep(file, make())
    return file.read_text().strip()


def keep(file: Path, text: str) -> None:
    """Write a file that only we can read."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)


def port_in(file: Path) -> str:
    """Return the port that a file names, which nobody has; a new one if it has been taken or there is none yet."""
    port = remembered(file, free_port)
    if not is_free(port):
        keep(file, free_port())
        say(f"port {port} has been taken by another program; now it is {file.read_text()}")
    return file.read_text()


def free_port() -> str:
    """Find a port that nobody listens on, and that the system gives no connection.

    While the server is down a connection could get a port of the system's own range, and the server not have it back.
    """
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    below = range(LOWEST_PORT, first) or range(LOWEST_PORT, HIGHEST_PORT)
    return next(port for port in map(str, random.sample(below, len(below))) if is_free(port))


def is_free(port: str) -> bool:
    """Tell whether one can listen on a port."""
    try:
        socket.create_server(("127.0.0.1", int(port))).close()
    except OSError:
        return False
    return True


def private_folder(parent: Path) -> Path:
    """Make this dev-cluster's own folder in one that is everybody's."""
    name = hashlib.sha256(str(FOLDER).encode()).hexdigest()[:10]
    folder = parent / f"plaza-{os.getuid()}-{name}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise DevClusterError(f"{folder} isn't ours; remove it or choose another folder with PLAZA_DEV_CLUSTER")
    return folder
