"""A Prefect server that knows no more than Mimas's deployments, and keeps their runs as Prefect does: once by key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter
from prefect.client.schemas.objects import StateType
from prefect.states import State

from flows.events.event import KINDS
from flows.events.sending import Sender

DEPLOYMENTS = {f"mimas/{event}": uuid4() for event in KINDS}


@dataclass
class FakeMimas:
    """Takes the calls of `prefect.client.orchestration.PrefectClient` that a sender makes.

    Parameters
    ----------
    trouble
        Called with the parameters of each run that is asked for; raises what the server answers instead.
    """

    runs: list[Any] = field(default_factory=list)
    trouble: Callable[[dict[str, Any]], None] = lambda parameters: None

    @asynccontextmanager
    async def open_sender(self) -> AsyncIterator[Sender]:
        yield Sender(self)  # type: ignore[arg-type]

    async def read_deployment_by_name(self, name: str) -> Any:
        return SimpleNamespace(id=DEPLOYMENTS[name])

    async def create_flow_run_from_deployment(
        self, deployment_id: UUID, *, parameters: dict[str, Any], idempotency_key: str | None, **content: Any
    ) -> Any:
        self.trouble(parameters)
        for run in self.runs:
            if idempotency_key is not None and run.idempotency_key == idempotency_key:
                return run
        created = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=len(self.runs))
        run = SimpleNamespace(
            id=uuid4(),
            deployment_id=deployment_id,
            idempotency_key=idempotency_key,
            parameters=parameters,
            created=created,
            state=State(type=StateType.SCHEDULED),
            **{"labels": {}, "tags": [], **content},
        )
        self.runs.append(run)
        return run

    async def read_flow_runs(
        self, *, flow_run_filter: FlowRunFilter, deployment_filter: DeploymentFilter, **_: Any
    ) -> list[Any]:
        assert flow_run_filter.tags
        assert flow_run_filter.tags.all_
        assert deployment_filter.id
        assert deployment_filter.id.any_
        tags, deployments = set(flow_run_filter.tags.all_), deployment_filter.id.any_
        return [run for run in reversed(self.runs) if tags <= set(run.tags) and run.deployment_id in deployments]

    def end(self, state: StateType = StateType.COMPLETED) -> None:
        """End all runs."""
        for run in self.runs:
            run.state = State(type=state)

    def told(self) -> list[tuple[str, int]]:
        """What Mimas ran for, in this order."""
        names = {deployment: name.removeprefix("mimas/") for name, deployment in DEPLOYMENTS.items()}
        return [(names[run.deployment_id], run.parameters["dcid"]) for run in self.runs]
