"""Proxies of the environment, which are for the world outside: never for this machine's own addresses."""

from __future__ import annotations

import socket

_LOOPBACK = ("127.0.0.1", "localhost", "::1")  # httpx takes no [::1]


def without_proxies(*hosts: str) -> dict[str, str]:
    """Return the environment in which nobody asks a proxy for this machine, nor for these hosts.

    Whatever the user excludes stays excluded.
    """
    from urllib.request import getproxies_environment

    proxies = getproxies_environment()  # as all that read these variables do, in whichever case they are
    excluded = proxies.pop("no", "")
    if excluded.strip() == "*" or not _are_usable(proxies):
        value = "*"
    else:
        named = [_unbracketed(host.strip()) for host in excluded.split(",")]
        value = ",".join(filter(None, dict.fromkeys([*named, *_LOOPBACK, socket.gethostname(), *hosts])))
    return {"no_proxy": value, "NO_PROXY": value}


def _unbracketed(host: str) -> str:
    """Write [::1] or [::1]:80 as ::1: the others end httpx's clients as they are made, and so Prefect's."""
    return host[1:].partition("]")[0] if host.startswith("[") else host


def _are_usable(proxies: dict[str, str]) -> bool:
    """Tell whether httpx can be made with these proxies: else it fails for addresses that are excluded, too."""
    relevant = [proxies[scheme] for scheme in ("http", "https", "all") if scheme in proxies]
    if not relevant:
        return True
    import httpx

    try:
        for proxy in relevant:
            httpx.HTTPTransport(proxy=proxy if "://" in proxy else f"http://{proxy}", verify=False).close()
    except (ImportError, ValueError, httpx.InvalidURL):  # the first for SOCKS without the package socksio
        return False
    return True
