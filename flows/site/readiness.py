"""Wait until a site that has been started is ready, and say what keeps it from that."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlparse

from blocks.errors import ConfigurationError
from blocks.settings import Settings
from flows.site.api_client import ask_api
from flows.site.health.site_status import bridge_state, worker_heartbeat_age
from flows.site.ports import answers
from flows.site.running_site import BRIDGE, RunningSite, process_environment
from flows.site.supervision import ServiceFailed, SiteGoesDown, Supervisor, SupervisorAway, tail
from flows.site.wanted import is_wanted

logger = logging.getLogger(__name__)

_POLL_S = 0.05
_HEALTH_S = 2.0  # of one question: its connection waits for a server that starts
# Of a service; supervisord starts it for ever
_STARTS_ALLOWED = 3


class StoppedMeanwhile(ServiceFailed):
    """The site didn't come up, as `plaza down` was asked for meanwhile."""


def wait_until_ready(
    supervisor: Supervisor, settings: Settings, site: RunningSite, deployments: Path, deadline: float
) -> None:
    """Wait until all services of a site that has been started do their work, and have its deployments applied.

    Raises
    ------
    ConfigurationError
        The bridge knows of no broker; the rest of the site is up.
    ServiceFailed
        One can't start or isn't ready by the deadline (of `time.monotonic`), or the deployments can't be applied.
    StoppedMeanwhile
        `plaza down` has stopped the site.
    """
    # In a process of its own, whose Prefect reads the site's environment. It imports Prefect while the services start.
    deploying = subprocess.Popen(
        [sys.executable, "-P", "-m", "flows.deploying.apply", "--deployments", str(deployments.absolute())],
        env=process_environment(settings, site),
        cwd=site.home,  # as the services: the current folder may be one in which others write
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with deploying:
        try:
            if any(state.name == "analysis-cluster" for state in supervisor.states()):
                port = urlparse(site.scheduler_address).port or 0
                _wait_for("analysis-cluster", lambda: answers(port), supervisor, deadline)
            _wait_for("server", lambda: ask_api(site, "health", timeout_s=_HEALTH_S) is True, supervisor, deadline)
            _wait_for("worker", lambda: _worker_has_reported(supervisor, site), supervisor, deadline)
            if any(state.name == BRIDGE for state in supervisor.states()):
                _wait_for(
                    BRIDGE, lambda: bridge_state(supervisor.home, supervisor.states()) is not None, supervisor, deadline
                )
            output, _ = deploying.communicate(timeout=max(1.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired as error:
            raise ServiceFailed("the deployments weren't applied in time: try `plaza deploy`") from error
        except (SupervisorAway, SiteGoesDown) as error:
            raise _interrupted(supervisor) from error
        finally:
            deploying.kill()  # nothing, if it has ended
    if deploying.returncode != 0:
        if supervisor.is_going_down or not supervisor.is_alive():
            raise _interrupted(supervisor)
        raise ServiceFailed(f"the deployments could not be applied:\n{output.strip()}")
    for line in output.splitlines():
        logger.log(logging.WARNING if line.startswith("refused") else logging.INFO, "%s", line)
    _check_bridge(supervisor)


def _check_bridge(supervisor: Supervisor) -> None:
    """Tell how the bridge is, where there is one.

    Raises
    ------
    ConfigurationError
        It knows of no broker; it goes on looking for one.
    """
    state = bridge_state(supervisor.home, supervisor.states())
    if state is None:
        return
    if state.broker is None:
        raise ConfigurationError(f"the site is up, but its bridge isn't: {state.last_error}")
    if state.connected_since is None:
        logger.warning("the bridge is up, the broker %s isn't (yet): %s", state.broker, state.last_error or "no answer")


def _interrupted(supervisor: Supervisor) -> ServiceFailed:
    """Say what has kept a site from coming up whose supervisord isn't there any more, or is about to end."""
    if supervisor.has_died:
        log = supervisor.home / "logs" / "supervisord.log"
        return ServiceFailed(
            f"supervisord was killed while the site came up, and its services end: `plaza up` starts it again. "
            f"Its log is {log}"
        )
    if supervisor.process is not None and not supervisor.is_going_down:
        return ServiceFailed("supervisord doesn't answer: `plaza up` lets it go on, or starts the site anew")
    kind = ServiceFailed if is_wanted(supervisor.home) else StoppedMeanwhile
    return kind("the site was stopped while it came up: `plaza up` starts it again")


def _worker_has_reported(supervisor: Supervisor, site: RunningSite) -> bool:
    """Say whether the worker has told Prefect that it's there; what an earlier one said doesn't count."""
    age = worker_heartbeat_age(site)
    worker = next((state for state in supervisor.states() if state.name == "worker"), None)
    return age is not None and worker is not None and bool(worker.pid) and age <= worker.uptime_s


def _wait_for(name: str, is_ready: Callable[[], bool], supervisor: Supervisor, deadline: float) -> None:
    """Wait for a service, but not for one that ends again and again, itself or another that it may wait for."""
    starts: dict[str, set[int]] = {}
    while not is_ready():
        for state in supervisor.states():
            starts.setdefault(state.name, set()).add(state.started)
            if len(starts[state.name] - {0}) > _STARTS_ALLOWED:
                raise ServiceFailed(
                    f"the service {state.name} ends again and again. {_log_end(supervisor, state.name)}"
                )
        if time.monotonic() > deadline:
            raise ServiceFailed(f"the service {name} isn't ready in time. {_log_end(supervisor, name)}")
        time.sleep(_POLL_S)


def _log_end(supervisor: Supervisor, name: str) -> str:
    log = supervisor.home / "logs" / f"{name}.log"
    return f"The end of {log}:\n{tail(log)}"
