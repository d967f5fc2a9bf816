"""Tell an outage of Prefect's API, which may pass, from its answers."""

from __future__ import annotations

import httpx


def is_outage(error: Exception) -> bool:
    """Tell whether Prefect's API can't be reached, or can't do its work now: its client has tried several times."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.is_server_error
    return isinstance(error, httpx.TransportError)
