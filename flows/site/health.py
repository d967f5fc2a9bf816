"""The health of the site that runs in a home folder: what its supervisor and its API say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from blocks.settings import Settings, get_settings
from flows.site.home_folder import check_open
from flows.site.running_site import WORK_POOL, RunningSite, read_running_site, site_file
from flows.site.secret import authorization
from flows.site.supervision import ServiceState, Supervisor


@dataclass(frozen=True)
class SiteStatus:
    """Health of the site.

    Parameters
    ----------
    site
        Its addresses; None if it's down.
    worker
        Prefect's word for the worker of the site's work pool: ONLINE, OFFLINE; empty if the server doesn't answer.
    """

    site: RunningSite | None
    services: tuple[ServiceState, ...] = ()
    worker: str = ""

    @property
    def is_healthy(self) -> bool:
        """Whether everything runs and the worker takes runs."""
        return bool(self.services) and all(s.is_running for s in self.services) and self.worker == "ONLINE"


def status(settings: Settings | None = None) -> SiteStatus:
    """Return the health of the site.

    Raises
    ------
    ConfigurationError
        The home folder is another user's and closed.
    """
    settings = settings or get_settings()
    check_open(settings.home)
    supervisor = Supervisor(settings.home.resolve())
    if not supervisor.is_alive() or not site_file(settings.home).exists():
        return SiteStatus(None)
    site = read_running_site(settings)
    return SiteStatus(site, tuple(supervisor.states()), worker_status(site))


def worker_status(site: RunningSite) -> str:
    """Return Prefect's word for the worker of the site's work pool; empty if there is none or the API is away."""
    workers = ask_api(site, f"work_pools/{WORK_POOL}/workers/filter", {"limit": 200})  # Prefect's most
    # Workers are told apart by their machines, and those that are gone stay in the list as OFFLINE
    states = [worker["status"] for worker in workers] if isinstance(workers, list) else []
    return "ONLINE" if "ONLINE" in states else next(iter(states), "")


def ask_api(site: RunningSite, path: str, body: Any = None) -> Any:
    """Return what the site's API says to a GET, or to a POST if there's a body; None if it doesn't answer (yet)."""
    method, secret = "GET" if body is None else "POST", site.secret
    headers = {"Authorization": authorization(secret)} if secret else {}
    try:  # plain HTTP to this machine: no proxy, nor 0.1 s for parsing certificates
        response = httpx.request(
            method, f"{site.api_url}/{path}", json=body, headers=headers, timeout=5, trust_env=False, verify=False
        )
        return response.raise_for_status().json()
    except (httpx.HTTPError, ValueError):
        return None
