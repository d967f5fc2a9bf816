"""The names by which the server may be asked for, and the pages that may ask.

A page of any site can have its own name lead to this machine (DNS rebinding): then a browser takes the API for a part
of that page. It can't choose the names in the requests, though.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_ALL_ADDRESSES = frozenset({"0.0.0.0", "::"})
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class KnownHosts:
    """The names and addresses of the server, without ports, in lower case."""

    names: frozenset[str]

    @classmethod
    def of_this_machine(cls, server_host: str, trusted: Iterable[str] = ()) -> KnownHosts:
        """Return those by which this machine is known, and those that are to be trusted beside them."""
        own = {socket.gethostname(), server_host}
        if server_host in _ALL_ADDRESSES:
            addresses = (address for each in psutil.net_if_addrs().values() for address in each)
            own |= {address.address for address in addresses if address.family in {socket.AF_INET, socket.AF_INET6}}
        return cls(_LOOPBACK | {host_name(name) or _normal(name) for name in (*own, *trusted)})

    def know(self, host: str) -> bool:
        """Tell whether a Host header names the server."""
        if host in self.names:  # the usual one, without what it costs to take it apart
            return True
        name = host_name(host)
        return name is not None and name in self.names


def host_name(host: str) -> str | None:
    """Return the name of a Host header (`name`, `name:port`, `[address]:port`) as `KnownHosts` has it, or None."""
    name, bracket, rest = host.rpartition("]")
    if bracket:
        name, port = name.removeprefix("["), rest.removeprefix(":")
    else:
        name, _, port = rest.partition(":")
    if not name or (port and not (port.isascii() and port.isdigit())):
        return None
    return _normal(name)


def _normal(name: str) -> str:
    name = name.lower().strip("[]").rstrip(".")
    try:
        return str(ipaddress.ip_address(name.partition("%")[0]))  # an address has many spellings
    except ValueError:
        return name


def is_own_origin(origin: str, host: str, scheme: str) -> bool:
    """Tell whether an Origin header names the server that the request's Host header names.

    The scheme isn't compared: behind a proxy that speaks TLS the server sees another, unless that proxy is trusted.
    """
    try:
        parts = urlsplit(origin)
        default = _DEFAULT_PORTS.get(parts.scheme)
        asked = urlsplit(f"{scheme}://{host}")
        # the default port isn't sent: of which scheme, only the browser knows
        ports = {parts.port or default, default if asked.port is None else asked.port}
    except ValueError:
        return False
    return default is not None and len(ports) == 1 and host_name(parts.netloc) == host_name(host) is not None
