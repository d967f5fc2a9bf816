"""What is to be deployed: a flow's deployment, its schedules, and the automations that run it on an event."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blocks.errors import ConfigurationError

if TYPE_CHECKING:
    from prefect import Flow


@dataclass(frozen=True)
class PlannedSchedule:
    """When a deployment runs by itself.

    Parameters
    ----------
    slug
        Its name within the deployment.
    """

    slug: str
    cron: str
    timezone: str
    active: bool = True


@dataclass(frozen=True)
class PlannedAutomation:
    """An automation that runs a deployment for each event of a kind.

    Parameters
    ----------
    expect
        Names of events, any of which counts.
    match
        Labels that the event's resource has.
    parameters
        For the run: Prefect's templates, filled in from the event.
    """

    name: str
    description: str
    enabled: bool
    expect: frozenset[str]
    match: dict[str, str]
    parameters: dict[str, Any]


@dataclass(frozen=True)
class PlannedDeployment:
    """A deployment as the files ask for it; its flow is loaded from the entrypoint."""

    source: Path
    name: str
    entrypoint: str
    work_pool: str
    work_queue: str
    description: str | None = None
    version: str | None = None
    tags: tuple[str, ...] = ()
    parameters: dict[str, Any] = field(default_factory=dict)
    job_variables: dict[str, Any] = field(default_factory=dict)
    schedules: tuple[PlannedSchedule, ...] = ()
    automations: tuple[PlannedAutomation, ...] = ()
    fault: str | None = None
    """Why it can't be deployed, whatever its flow is."""

    def load_flow(self) -> Flow[..., Any]:
        """Import the flow.

        Raises
        ------
        ConfigurationError
            It can't be deployed, or the entrypoint doesn't lead to a flow; says which file asks for it.
        """
        if self.fault:
            raise ConfigurationError(f"{self.source}: {self.fault}")
        from prefect.flows import load_flow_from_entrypoint

        try:
            return load_flow_from_entrypoint(self.entrypoint, use_placeholder_flow=False)
        except Exception as error:  # whatever importing the module raises
            cause = error.__cause__ or error
            raise ConfigurationError(
                f"{self.source}: the entrypoint {self.entrypoint} of deployment {self.name!r} can't be loaded: "
                f"{type(cause).__name__}: {cause}"
            ) from error
