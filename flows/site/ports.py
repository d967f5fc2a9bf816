"""TCP ports on this machine: is one free, and who holds it."""

from __future__ import annotations

import socket
from contextlib import suppress

import psutil

from blocks.errors import PlazaError

LOOPBACK = "127.0.0.1"


class PortTaken(PlazaError):
    """A port that a service needs is in use."""


def claim_port(port: int, purpose: str, setting: str, host: str = LOOPBACK) -> int:
    """Return the port if it's free, or any free one for 0; until its service binds it, another process may take it.

    Parameters
    ----------
    purpose
        What it's for, for people.
    setting
        The environment variable that chooses another.
    host
        Where the service will listen.

    Raises
    ------
    PortTaken
        Another process listens on it.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise PortTaken(f"{host!r} for {purpose} is no address or name of this machine: {error.strerror}") from error
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: past connections don't matter
        try:
            probe.bind(address)
        except OSError as error:
            where = f"port {port}" if host == LOOPBACK else f"port {port} of {host}"
            raise PortTaken(
                f"{where} for {purpose} can't be used ({error.strerror}; {_holder(port)}): "
                f"stop what uses it, or set {setting} to another port (0: any free one)"
            ) from error
        return int(probe.getsockname()[1])


def reached_at(host: str) -> str:
    """Return how this machine's own clients write the host at which a server listens: by loopback if they can."""
    if host in {"", "0.0.0.0", "localhost"}:
        return LOOPBACK
    if host in {"::", "::1"}:
        return "[::1]"
    return f"[{host}]" if ":" in host else host


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
