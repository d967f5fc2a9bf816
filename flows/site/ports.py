"""TCP ports on this machine: is one free, and who holds it."""

from __future__ import annotations

import socket
from contextlib import suppress

import psutil

from blocks.errors import PlazaError

LOOPBACK = "127.0.0.1"
_BACKLOG = 2048  # connections that wait to be accepted, as uvicorn has it


class PortTaken(PlazaError):
    """A port that a service needs is in use."""


def claim_port(port: int, purpose: str, setting: str) -> int:
    """Return the port if it's free, or any free one for 0; until its service binds it, another process may take it.

    Parameters and errors are those of `listen`.
    """
    with listen(port, purpose, setting) as probe:
        return int(probe.getsockname()[1])


def listen(port: int, purpose: str, setting: str, host: str = LOOPBACK) -> socket.socket:
    """Return a socket that listens on the port, or any free one for 0: nobody else gets it while the socket is open.

    Parameters
    ----------
    purpose
        What it's for, for people.
    setting
        The environment variable that chooses another.
    host
        Where to listen. Of a name with several addresses, one is taken, of IPv4 if there is one.

    Raises
    ------
    PortTaken
        Another process listens on it.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise PortTaken(f"{host!r} for {purpose} is no address or name of this machine: {error.strerror}") from error
    family, kind, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    listening = socket.socket(family, kind)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: past connections don't matter
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)  # two may bind the same port, only one may listen
    except OSError as error:
        listening.close()
        where = f"port {port}" if host == LOOPBACK else f"port {port} of {host}"
        raise PortTaken(
            f"{where} for {purpose} can't be used ({error.strerror}; {_holder(port)}): "
            f"stop what uses it, or set {setting} to another port (0: any free one)"
        ) from error
    return listening


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
