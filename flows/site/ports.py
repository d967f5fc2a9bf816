"""TCP ports on this machine: is one free, and who holds it."""

from __future__ import annotations

import socket
from contextlib import suppress

import psutil

from blocks.errors import PlazaError

LOOPBACK = "127.0.0.1"


class PortTaken(PlazaError):
    """A port that a service needs is in use."""


def claim_port(port: int, purpose: str, setting: str) -> int:
    """Return the port if it's free, or any free one for 0; until its service binds it, another process may take it.

    Parameters
    ----------
    purpose
        What it's for, for people.
    setting
        The environment variable that chooses another.

    Raises
    ------
    PortTaken
        Another process listens on it.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: past connections don't matter
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise PortTaken(
                f"port {port} for {purpose} can't be used ({error.strerror}; {_holder(port)}): "
                f"stop what uses it, or set {setting} to another port (0: any free one)"
            ) from error
        return int(probe.getsockname()[1])


def answers(port: int, host: str | None = None) -> bool:
    """Say whether something listens on the port, of this machine if no other host is said."""
    try:
        with socket.create_connection((host or LOOPBACK, port), timeout=1):
            return True
    except OSError:
        return False


def _holder(port: int) -> str:
    with suppress(psutil.AccessDenied):
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                if connection.pid is None:  # only root sees whose another user's socket is
                    break
                with suppress(psutil.NoSuchProcess):
                    process = psutil.Process(connection.pid)
                    return (
                        f"held by process {process.pid}, {' '.join(process.cmdline())[:120]!r} of {process.username()}"
                    )
    return "its holder isn't visible to this user"
