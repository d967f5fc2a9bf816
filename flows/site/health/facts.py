"""What is seen of a site when its health is asked for: facts alone; what they mean is said in `problems`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flows.events.bridge.state import BridgeState
from flows.site.health.disks import Disk
from flows.site.processes import ProcessFacts
from flows.site.supervision import ServiceState
from tasks.diffraction.dials_checks.differences import Difference

SupervisorState = Literal["runs", "ending", "silent", "died", "none"]


@dataclass(frozen=True)
class ApiFacts:
    """What Prefect's API says of what a run needs. Ages are in seconds; None: never, or it isn't known.

    Parameters
    ----------
    has_database
        It answers what it can't without its database; without that nothing else is known.
    pool_limit
        How many runs may be at work at once; None: any number.
    busy
        Runs that hold one of these places.
    paused
        Which of the pool and its queues are paused.
    full_queues
        Queues whose own limit leaves no place, as words.
    polled_age_s
        Since the worker last asked for runs.
    deployments
        Names of those that are there, of those that should be.
    late
        Runs that were due a while ago and weren't taken.
    """

    answers: bool = False
    has_database: bool = False
    has_pool: bool = False
    pool_limit: int | None = None
    busy: int = 0
    paused: tuple[str, ...] = ()
    full_queues: tuple[str, ...] = ()
    heartbeat_age_s: float | None = None
    polled_age_s: float | None = None
    deployments: tuple[str, ...] = ()
    late: int = 0


@dataclass(frozen=True)
class SiteFacts:
    """What is seen of a site.

    Parameters
    ----------
    supervisor
        It runs and answers; stops everything in order; is there and doesn't answer; was killed; or there is none.
    site_file_fault
        Why the site's addresses can't be read.
    processes
        Everything of the site that lives.
    sees_processes
        Whether this user may see them: those of another user's site can't be told from others of theirs.
    cluster_answers
        Something listens at the Dask scheduler's address.
    no_kernel
        Why the spot finder's kernel isn't used; empty: it is.
    expected
        Deployments that should be there.
    differences
        Images whose spots differed from DIALS's, of which nobody has taken note.
    bridge
        What the bridge says of itself; None: there is none, or it has said nothing lately.
    """

    supervisor: SupervisorState
    disks: tuple[Disk, ...] = ()
    site_file_fault: str = ""
    services: tuple[ServiceState, ...] = ()
    processes: tuple[ProcessFacts, ...] = ()
    sees_processes: bool = True
    api: ApiFacts = ApiFacts()
    cluster_answers: bool = False
    no_kernel: str = ""
    expected: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    bridge: BridgeState | None = None

    def service(self, name: str) -> ServiceState | None:
        """Return what supervisord says of a service; None if this site hasn't got it."""
        return next((service for service in self.services if service.name == name), None)

    def started_by(self, name: str) -> tuple[ProcessFacts, ...]:
        """Return the processes that a service has started itself."""
        service = self.service(name)
        return tuple(each for each in self.processes if service and each.parent == service.pid)
