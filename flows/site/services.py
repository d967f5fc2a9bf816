"""Bring the whole site up and down on this machine: database, Prefect's server, analysis cluster, worker, bridge."""

from __future__ import annotations

import fcntl
import logging
import math
import os
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from blocks.broker_address import read_broker_url
from blocks.cluster_keys import keys_folder
from blocks.errors import ConfigurationError
from blocks.settings import CHECKOUT, Settings, get_settings
from flows.site.access.home_folder import close_home, is_ours, whose
from flows.site.access.secret import make_secret
from flows.site.health.disks import look_at
from flows.site.leftovers import end_leftovers, let_go_on, names
from flows.site.ports import LOOPBACK, claim_port, listen, reached_at
from flows.site.processes import site_processes
from flows.site.readiness import wait_until_ready
from flows.site.running_site import (
    BRIDGE,
    SERVICE_MARK,
    RunningSite,
    process_environment,
    read_running_site,
    site_file,
    socket_folder,
    usable_folder,
)
from flows.site.supervision import Service, ServiceFailed, Supervisor
from flows.site.wanted import want, want_no_more
from flows.warm_pool.forker import FLOW_MODULES
from flows.warm_pool.run_processes import processes_of_runs
from tasks.processes.ties import kill, wait_until_gone

logger = logging.getLogger(__name__)

DEPLOYMENTS = CHECKOUT / "deployments"
_UP_TIMEOUT_S = 120.0  # it takes 10 s, with a new database 18 s, where nothing else runs
_DOWN_TIMEOUT_S = 60.0  # supervisord stops one service after the other, which may take 50 s in all
# `plaza up` holds the lock while it ends leftovers and starts supervisord, `plaza down` until all has ended
_OTHERS_TIMEOUT_S = _DOWN_TIMEOUT_S + 30.0
_POLL_S = 0.05


def up(
    settings: Settings | None = None,
    *,
    wait: bool = True,
    deployments: Path = DEPLOYMENTS,
    modules: Sequence[str] = FLOW_MODULES,
    end_with: int | None = None,
    timeout: float = _UP_TIMEOUT_S,
) -> RunningSite:
    """Start the site unless it runs, and apply the deployments.

    Parameters
    ----------
    wait
        Return when everything is ready, else as soon as the services have been started (nothing is deployed then).
    deployments
        Folder of `prefect.yaml` and `work_pools.yaml`.
    modules
        What the worker imports beforehand.
    end_with
        Stop everything when the process with this id ends; a site that already runs stays as it was.

    Raises
    ------
    ConfigurationError
        The home folder can't be used, or is another user's; the bridge is wanted and knows of no broker, or the site
        is up without it.
    PortTaken
        A port is in use; nothing has been started.
    ServiceFailed
        The disk is full, or a service didn't come up within `timeout` seconds; the others are left as they are, for
        `status`.
    """
    settings = settings or get_settings()
    settings = settings.model_copy(update={"home": settings.home.resolve()})
    deadline = time.monotonic() + timeout
    if settings.bridge and settings.broker_url:
        read_broker_url(settings.broker_url)  # an address that can't be read is told before anything is started
    close_home(settings)
    with _one_at_a_time(settings.home):
        supervisor = Supervisor(settings.home)
        site = _running_already(supervisor, settings) or _start(supervisor, settings, modules, end_with)
        want(settings.home)
    if wait:
        wait_until_ready(supervisor, settings, site, deployments, deadline)
    return site


def _running_already(supervisor: Supervisor, settings: Settings) -> RunningSite | None:
    """Return the site if it runs, with all its services on their way; None if it must be started."""
    let_go_on(site_processes(settings.home))
    if not supervisor.is_alive():
        return None
    if supervisor.is_going_down:  # told to by something else than `plaza down`, which would be waited for
        logger.info("the site goes down; it's started as soon as it has")
        _stop(settings.home, _DOWN_TIMEOUT_S)
        return None
    try:
        site = read_running_site(settings)
    except ConfigurationError as error:  # somebody has removed or spoilt the file; nobody else knows the ports
        logger.warning("the site runs, but nobody finds it, so it's started anew: %s", error)
        _stop(settings.home, _DOWN_TIMEOUT_S)
        return None
    if settings.bridge and BRIDGE not in [state.name for state in supervisor.states()]:
        raise ConfigurationError(
            "the site is up without the bridge, and its runs don't know of one: say `plaza down`, then "
            "`plaza up --bridge`, or set PLAZA_BRIDGE=true for good"
        )
    logger.info("the site is up already, at %s", site.ui_url)
    supervisor.start_stopped()
    return site


def _start(supervisor: Supervisor, settings: Settings, modules: Sequence[str], end_with: int | None) -> RunningSite:
    disk = look_at("the home", settings.home)
    if disk.is_full:
        raise ServiceFailed(f"{disk}: FULL, so nothing can be started. Make room, then say `plaza up` again")
    # Runs that have outlived their site are adopted by the new worker, if they find its server where the old one was
    end_leftovers(settings.home, processes_of_runs(settings.home) if _has_fixed_addresses(settings) else [])
    make_secret(settings.home)
    with listen(settings.server_port, "Prefect's server", "PLAZA_SERVER_PORT", settings.server_host) as listening:
        return _start_services(supervisor, settings, modules, end_with, listening)


def _start_services(
    supervisor: Supervisor,
    settings: Settings,
    modules: Sequence[str],
    end_with: int | None,
    listening: socket.socket,
) -> RunningSite:
    scheduler, keys = settings.dask_scheduler, settings.dask_keys
    # They are stopped in the opposite order: the worker reports its runs' ends while the server is there to be told,
    # the server writes what it has while its database is there
    services = [
        Service(
            "database", ("flows.site.api_server.database",), 10, stop_signal="INT"
        ),  # at TERM it would wait for its clients
        Service("server", ("flows.site.api_server.server",), 20, listens=True),
        # 10 s are its runs', to end by themselves
        Service("worker", ("flows.site.worker_service", "--preload", *modules), 40, stop_timeout_s=20),
    ]
    if scheduler is None:
        dask_port = claim_port(settings.dask_port, "the analysis cluster", "PLAZA_DASK_PORT")
        scheduler, keys = f"tls://{LOOPBACK}:{dask_port}", keys_folder(settings.home)
        options = ("--port", str(dask_port), "--workers", str(settings.analysis_workers))
        services.append(Service("analysis-cluster", ("flows.site.analysis_cluster", *options), 30))
    if settings.bridge:
        services.append(Service(BRIDGE, ("flows.site.bridge_service",), 50))
    # Its address, not its name: at another address of that name somebody else might listen
    address, server_port = listening.getsockname()[:2]
    ui_url = f"http://{reached_at(address)}:{server_port}"
    site = RunningSite(settings.home, f"{ui_url}/api", ui_url, scheduler, keys)
    mark = {SERVICE_MARK: str(settings.home), "SPT_NOENV": "1"}  # titles of processes must not overwrite the mark
    supervisor.start(services, {**process_environment(settings, site), **mark}, end_with, listening=listening)
    site.write()
    return site


@contextmanager
def running_site(settings: Settings | None = None, **options: Any) -> Iterator[RunningSite]:
    """Have the site up inside the block, and all of it stopped after it, even if this process is killed.

    A site that was up before is used and left running.
    """
    settings = settings or get_settings()
    if Supervisor(settings.home.resolve()).is_alive():
        yield up(settings, **options)
        return
    try:
        yield up(settings, end_with=os.getpid(), **options)
    finally:
        down(settings)


def down(settings: Settings | None = None, timeout: float = _DOWN_TIMEOUT_S) -> bool:
    """Stop the site; runs that are under way are ended and reported.

    What starts or stops the site at the same time is waited for, for a while.

    Returns
    -------
    bool
        Whether anything ran when this was called.

    Raises
    ------
    ConfigurationError
        The site is another user's.
    ServiceFailed
        Processes remain that can't even be killed.
    """
    home = (settings or get_settings()).home.resolve()
    if not is_ours(home):
        raise ConfigurationError(whose(home))
    ran = bool(site_processes(home))
    with _one_at_a_time(home, patience_s=_OTHERS_TIMEOUT_S):
        want_no_more(home)
        return _stop(home, timeout) or ran


def _stop(home: Path, timeout: float) -> bool:
    """Stop the site and return whether anything ran; only one process at a time may do so, or start it."""
    supervisor = Supervisor(home)
    processes = site_processes(home)
    let_go_on(processes)
    if supervisor.is_alive():
        supervisor.shut_down()
        stubborn = wait_until_gone(processes, timeout)
        if stubborn:
            logger.warning("killing what didn't stop within %.0f s: %s", timeout, names(stubborn))
            kill(stubborn)
    end_leftovers(home)
    for file in (site_file(home), home / "run" / "supervisord.pid", socket_folder(home) / "supervisor.sock"):
        file.unlink(missing_ok=True)
    if socket_folder(home) != home / "run":
        shutil.rmtree(socket_folder(home))
    return bool(processes)


@contextmanager
def _one_at_a_time(home: Path, patience_s: float = math.inf) -> Iterator[None]:
    """Be the only process that starts or stops the site; after this time go on without, as the other may be stuck."""
    deadline = time.monotonic() + patience_s
    with (usable_folder(home / "run") / "up.lock").open("a") as lock:
        while not _has_locked(lock):
            if time.monotonic() > deadline:
                logger.warning("another process has started or stopped the site for %.0f s: going on", patience_s)
                break
            time.sleep(_POLL_S)
        yield


def _has_locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _has_fixed_addresses(settings: Settings) -> bool:
    return settings.server_port != 0 and (settings.dask_port != 0 or settings.dask_scheduler is not None)
