"""Ask the API of the site that runs here, without Prefect, which takes a second to import."""

from __future__ import annotations

from typing import Any

import httpx

from flows.site.access.secret import authorization
from flows.site.running_site import RunningSite

_OPEN = frozenset({"health", "ready"})  # answered without the secret


def ask_api(site: RunningSite, path: str, body: Any = None, timeout_s: float = 5) -> Any:
    """Return what the site's API says to a GET, or to a POST if there's a body; None if it doesn't answer (yet)."""
    method, secret = "GET" if body is None else "POST", site.secret
    # Whoever listens there when the site is down gets no secret from who only asks whether it's up
    headers = {"Authorization": authorization(secret)} if secret and path not in _OPEN else {}
    try:  # plain HTTP to this machine: no proxy, nor 0.1 s for parsing certificates
        response = httpx.request(
            method,
            f"{site.api_url}/{path}",
            json=body,
            headers=headers,
            timeout=timeout_s,
            trust_env=False,
            verify=False,
        )
        return response.raise_for_status().json()
    except (httpx.HTTPError, ValueError):
        return None
