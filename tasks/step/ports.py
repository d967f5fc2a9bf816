"""What steps ask of the world beyond themselves, as types: flows carry it out, tests replace it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from email.message import EmailMessage
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NewType, Protocol
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from blocks.identifiers import Dcid


class LaunchedRecipe(BaseModel):
    """A recipe's flow run.

    Parameters
    ----------
    earlier
        The same event had launched it before.
    taken_up
        It's such a run, had failed, crashed or been cancelled, and goes on now with what hadn't completed.
    state
        How such a run stood: its state and what that said, in a line.
    """

    model_config = ConfigDict(frozen=True)

    recipe: str
    flow_run_id: UUID
    earlier: bool = False
    taken_up: bool = False
    state: str = ""


class FailedLaunch(BaseModel):
    """A recipe that wasn't launched, or whose job couldn't be created; jobs' recipes as `ispyb-…`."""

    model_config = ConfigDict(frozen=True)

    recipe: str
    reason: str


@dataclass(frozen=True)
class Launch:
    """A run that is wanted.

    Parameters
    ----------
    key
        Tells one launch of the recipe from another: the same recipe and key is the same run.
    name, tags
        By which people find it.
    parameters
        What is handed over beside ISPyB's: few and small, since they go through Prefect's API.
    read_by
        The run of Mimas that has read the data collection, so that this one needn't.
    deployment
        Which of its flow's deployments: recipes have one, `live`; Mimas has one for each event.
    flow_parameters
        What else the flow takes beside these.
    """

    recipe: str
    dcid: Dcid | None
    parameters: Mapping[str, Any]
    key: str
    name: str
    tags: Sequence[str] = ()
    read_by: UUID | None = None
    deployment: str = "live"
    flow_parameters: Mapping[str, Any] = field(default_factory=dict)


class Launcher(Protocol):
    """Starts runs of recipes."""

    async def installed(self, recipes: Iterable[str]) -> set[str]:
        """Return those of the recipes that can be launched here.

        Raises
        ------
        PrefectUnavailable
            Prefect's API doesn't answer.
        """
        ...

    async def launch(self, launches: Sequence[Launch]) -> Sequence[LaunchedRecipe | FailedLaunch]:
        """Launch runs in this order, each unless its recipe has an earlier one of its key.

        An earlier run that neither is done nor under way goes on, or where it can't, is replaced by a new one.

        Returns
        -------
        Sequence[LaunchedRecipe | FailedLaunch]
            What became of each, in the same order: one that is refused stops no other.

        Raises
        ------
        PrefectUnavailable
            Prefect's API doesn't answer. The first ones may be launched; asked again, they are found by their keys.
        """
        ...


ClusterJobId = NewType("ClusterJobId", str)
"""What a cluster's scheduler calls a job."""


class ClusterJobState(StrEnum):
    """How far a job on a cluster is; once it has ended, how."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    OUT_OF_TIME = "out of time"
    OUT_OF_MEMORY = "out of memory"
    PREEMPTED = "pre-empted"
    NODE_LOST = "node lost"
    CANCELLED = "cancelled"
    LOST = "lost"
    """The scheduler knows no such job (any more)."""

    @property
    def is_final(self) -> bool:
        """The job has ended."""
        return self not in _UNDER_WAY


_UNDER_WAY: Final = frozenset({ClusterJobState.PENDING, ClusterJobState.RUNNING})


@dataclass(frozen=True)
class ClusterJobStatus:
    """A job's state, and what the scheduler says of it: why it waits, or why it ended."""

    state: ClusterJobState
    reason: str = ""
    exit_code: int | None = None


@dataclass(frozen=True, kw_only=True)
class ClusterJobSpecification:
    """A job for a cluster, by the keys of a recipe's `cluster`; None: the scheduler's default.

    Parameters
    ----------
    scheduler
        Which cluster: `slurm`, or another one of the site's.
    commands
        Lines of the job's script.
    working_directory
        An absolute path, where the job runs and leaves what it prints.
    array
        Indices of an array of jobs, in Slurm's notation.
    memory_per_node_mb, min_memory_per_cpu_mb
        In MB.
    """

    scheduler: str
    commands: Sequence[str]
    working_directory: Path
    job_name: str | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraints: str | None = None
    prefer: str | None = None
    array: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    nodes: int | None = None
    tasks: int | None = None
    cpus_per_task: int | None = None
    gpus: str | None = None
    gpus_per_node: str | None = None
    memory_per_node_mb: int | None = None
    min_memory_per_cpu_mb: int | None = None
    time_limit: timedelta | None = None
    exclusive: bool = False


class Cluster(Protocol):
    """Submits jobs to a cluster's scheduler and watches them. A scheduler that is away is a `PassingFault`."""

    async def submit(self, specification: ClusterJobSpecification, key: str) -> ClusterJobId:
        """Submit a job, once by its key: Zocalo submits it twice if it dies right after.

        Raises
        ------
        MessageRefused
            The scheduler doesn't take it.
        """
        ...

    async def status(self, job: ClusterJobId) -> ClusterJobStatus:
        """Ask how far a job is; it's known of jobs that have ended too."""
        ...

    async def cancel(self, job: ClusterJobId) -> None:
        """End a job; one that has ended stays as it is."""
        ...


class MailTransport(Protocol):
    """Takes mails. Waits for the server: call it in a thread."""

    @property
    def host(self) -> str:
        """The server's name or address."""
        ...

    @property
    def port(self) -> int:
        """Its port."""
        ...

    @property
    def sender(self) -> str:
        """Sender of mails whose recipe names none."""
        ...

    def send(self, mail: EmailMessage) -> Mapping[str, str]:
        """Hand over a mail.

        Returns
        -------
        Mapping
            Recipients that the server refused, each with the reason; the others get the mail.

        Raises
        ------
        OSError
            The server can't be reached, or refuses the mail.
        """
        ...


class ISPyBWriter(Protocol):
    """Writes to ISPyB, as the site has chosen.

    What it does and what it raises is told by `tasks.ispyb_access.writing.writer.Writer`, with the types of commands:
    those import the steps' contract, so it can't name them.
    """

    def session(self, entry: str | None) -> AbstractContextManager[Any]:
        """Give what carries out the commands of one piece of work, once by its entry's name."""
        ...

    def write_images(self, results: Sequence[Any]) -> None:
        """Write many per-image results at once."""
        ...

    def close(self) -> None:
        """Close the connections that are the writer's own."""
        ...
