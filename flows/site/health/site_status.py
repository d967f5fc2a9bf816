"""The health of the site that runs in a home folder: whether a run would really start and be carried out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from blocks.errors import ConfigurationError
from blocks.settings import Settings, get_settings
from flows.events.bridge.state import BridgeState, read_state
from flows.site.access.home_folder import check_open, is_ours
from flows.site.api_client import ask_api
from flows.site.health.disks import Disk, look_at
from flows.site.health.facts import ApiFacts, SiteFacts
from flows.site.health.problems import find_problems, find_warnings, find_wrong_numbers
from flows.site.ports import answers
from flows.site.processes import describe, site_processes
from flows.site.running_site import BRIDGE, WORK_POOL, RunningSite, read_running_site, site_file, temporary_folder
from flows.site.supervision import ServiceFailed, ServiceState, SiteGoesDown, Supervisor
from tasks.diffraction.dials_checks.differences import Differences

NEEDED = ("mimas/start", "mimas/end")
_LATE_S = 30.0
_API_TIMEOUT_S = 2.0
_SUPERVISOR_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class SiteStatus:
    """Health of the site.

    Parameters
    ----------
    site
        Its addresses; None if it's down, or they can't be read.
    facts
        What was seen.
    """

    site: RunningSite | None
    facts: SiteFacts

    @property
    def services(self) -> tuple[ServiceState, ...]:
        """What supervisord says of each service."""
        return self.facts.services

    @property
    def problems(self) -> tuple[str, ...]:
        """Why a run wouldn't start, or is said to find wrong spots, each with what to do."""
        return (*find_problems(self.facts), *find_wrong_numbers(self.facts))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What somebody should look at all the same."""
        return find_warnings(self.facts)

    @property
    def is_healthy(self) -> bool:
        """Whether a run would start now and be carried out, by all that's known with the right numbers."""
        return not self.problems


def status(settings: Settings | None = None, *, expected: Sequence[str] = NEEDED) -> SiteStatus:
    """Return the health of the site, within seconds whatever state it's in.

    Parameters
    ----------
    expected
        Deployments without which it isn't healthy.

    Raises
    ------
    ConfigurationError
        The home folder is another user's and closed.
    """
    settings = settings or get_settings()
    check_open(settings.home)
    home = settings.home.resolve()
    disks = (look_at("the home", home), look_at("temporary files", temporary_folder()))
    no_kernel = _why_no_kernel()
    if not home.exists():
        return SiteStatus(None, SiteFacts("none", disks[1:], no_kernel=no_kernel))
    found = _look(settings, home, disks, expected)
    return replace(found, facts=replace(found.facts, differences=Differences(home).open(), no_kernel=no_kernel))


def _look(settings: Settings, home: Path, disks: tuple[Disk, ...], expected: Sequence[str]) -> SiteStatus:
    supervisor = Supervisor(home, _SUPERVISOR_TIMEOUT_S)
    processes = describe(site_processes(home))
    try:
        services = tuple(supervisor.states())
    except SiteGoesDown:
        return SiteStatus(None, SiteFacts("ending", disks, processes=processes))
    except ServiceFailed:
        return SiteStatus(None, SiteFacts(_why_silent(supervisor, home, bool(processes)), disks, processes=processes))
    try:
        site = read_running_site(settings)
    except ConfigurationError as error:
        return SiteStatus(None, SiteFacts("runs", disks, str(error), services, processes))
    return SiteStatus(
        site,
        SiteFacts(
            "runs",
            disks,
            services=services,
            processes=processes,
            sees_processes=is_ours(home),
            api=read_api(site, expected),
            cluster_answers=scheduler_answers(site),
            expected=tuple(expected),
            bridge=bridge_state(home, services),
        ),
    )


def _why_no_kernel() -> str:
    from tasks.diffraction.kernel import why_not_compiled  # numpy comes with it

    return why_not_compiled() or ""


def _why_silent(supervisor: Supervisor, home: Path, has_processes: bool) -> Any:
    if supervisor.process is not None:
        return "silent"
    # `plaza down` removes the file once all has ended
    return "died" if has_processes or site_file(home).exists() or supervisor.has_died else "none"


def bridge_state(home: Path, services: Sequence[ServiceState]) -> BridgeState | None:
    """Return what the bridge that runs says of itself; None: it doesn't run, or hasn't said it lately."""
    service = next((each for each in services if each.name == BRIDGE and each.pid), None)
    state = None if service is None else read_state(home)
    return state if state is not None and service is not None and state.is_of(service.pid) else None


def scheduler_answers(site: RunningSite) -> bool:
    """Say whether something listens at the Dask scheduler's address."""
    address = urlparse(site.scheduler_address)
    return answers(address.port or 0, address.hostname)


def read_api(site: RunningSite, expected: Sequence[str]) -> ApiFacts:
    """Ask Prefect's API what a run needs to start, these deployments too."""
    if ask_api(site, "health", timeout_s=_API_TIMEOUT_S) is not True:
        return ApiFacts()
    pools = ask_api(site, "work_pools/filter", _named("work_pools", WORK_POOL), timeout_s=_API_TIMEOUT_S)
    if not isinstance(pools, list):
        return ApiFacts(answers=True)
    if not pools:
        return ApiFacts(answers=True, has_database=True)
    return _read_pool(site, pools[0], expected)


def _read_pool(site: RunningSite, pool: dict[str, Any], expected: Sequence[str]) -> ApiFacts:
    def ask(path: str, body: Any = None) -> Any:
        return ask_api(site, path, body, timeout_s=_API_TIMEOUT_S)

    slots = ask(f"work_pools/{WORK_POOL}/concurrency_status", {"flow_run_limit": 0}) or {}
    queues = ask(f"work_pools/{WORK_POOL}/queues/filter", {}) or []
    late = {
        "flow_runs": {
            "state": {"type": {"any_": ["SCHEDULED"]}},
            "next_scheduled_start_time": {"before_": (datetime.now(UTC) - timedelta(seconds=_LATE_S)).isoformat()},
        },
        **_named("work_pools", WORK_POOL),
    }
    paused = [f"the queue {queue['name']}" for queue in queues if queue["is_paused"]]
    return ApiFacts(
        answers=True,
        has_database=True,
        has_pool=True,
        pool_limit=pool["concurrency_limit"],
        busy=slots.get("active_slots") or 0,
        paused=(*([f"the work pool {WORK_POOL}"] if pool["is_paused"] else []), *paused),
        full_queues=tuple(
            f"the queue {queue['queue_name']} ({queue['active_slots']} of {queue['concurrency_limit']} places taken)"
            for queue in slots.get("queues", [])
            if queue["concurrency_limit"] is not None and queue["active_slots"] >= queue["concurrency_limit"]
        ),
        heartbeat_age_s=worker_heartbeat_age(site),
        polled_age_s=_least_age([queue["last_polled"] for queue in queues]),
        deployments=tuple(name for name in expected if ask(f"deployments/name/{name}") is not None),
        late=ask("flow_runs/count", late) or 0,
    )


def _named(what: str, name: str) -> dict[str, Any]:
    return {what: {"name": {"any_": [name]}}}


def worker_heartbeat_age(site: RunningSite) -> float | None:
    """Return how long ago the worker has told Prefect that it's there, in seconds; None: never, or the API is away.

    Prefect's own word for it, ONLINE, lags behind: a worker that was killed has it for a minute and a half.
    """
    path = f"work_pools/{WORK_POOL}/workers/filter"
    workers = ask_api(site, path, {"limit": 200}, timeout_s=_API_TIMEOUT_S)  # Prefect's most
    return _least_age([worker["last_heartbeat_time"] for worker in workers or []])


def _least_age(times: Sequence[str | None]) -> float | None:
    now = datetime.now(UTC)
    return min(((now - datetime.fromisoformat(time)).total_seconds() for time in times if time), default=None)
