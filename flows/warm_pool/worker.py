"""The work pool type `warm`: flow runs are forked from a process that has everything imported.

A flow's first line runs some 0.6 s after it was asked for; Prefect's process worker, which starts an interpreter or two
for each run, takes 3 s to 8 s. Prefect finds this worker through the entry point group `prefect.collections`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import anyio.abc
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.exceptions import ObjectNotFound
from prefect.flows import load_flow_from_flow_run
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult
from pydantic import Field

from blocks.settings import get_settings
from flows.warm_pool._prefect_private import RunSupervision, SelectsRuns, process_handle
from flows.warm_pool.adoption import Adoption
from flows.warm_pool.beamlines import site_beamlines
from flows.warm_pool.capacity import site_limits
from flows.warm_pool.forker import FLOW_MODULES, Forker
from flows.warm_pool.places import RunsUnderWay
from flows.warm_pool.planned_ends import note_planned_ends
from flows.warm_pool.run_processes import SERVICE_MARK, run_title
from flows.warm_pool.turns import DECISION_QUEUE, Turns

_REPORTING_S = 5.0  # that an ended run takes to be reported, while the server has its hands full


class WarmJobConfiguration(BaseJobConfiguration):
    """What a run's process is started with."""

    working_dir: Path = Field(default_factory=Path.cwd)


class WarmVariables(BaseVariables):
    """What a deployment or a work pool may set."""

    working_dir: Path | None = Field(
        default=None, title="Working Directory", description="Folder a run is started in; the worker's own by default."
    )


class WarmWorkerResult(BaseWorkerResult):
    """How a run's process ended."""


class ForkStarter:
    """Start one run's process: Prefect's `ProcessStarter`."""

    def __init__(
        self, forker: Forker, supervision: RunSupervision, turns: Turns, configuration: WarmJobConfiguration
    ) -> None:
        self._forker = forker
        self._supervision = supervision
        self._turns = turns
        self._configuration = configuration

    async def start(
        self, flow_run: FlowRun, task_status: anyio.abc.TaskStatus[Any] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Fork, announce the process, and wait until it has ended."""
        configured = {name: value for name, value in self._configuration.env.items() if value is not None}
        environment = {**os.environ, **configured, **self._supervision.attempt_environment(flow_run)}
        flow_name = environment.get("PREFECT__FLOW_NAME", "flow")
        title = run_title(flow_run.id, flow_name, flow_run.name)
        child = await self._forker.fork(environment, self._configuration.working_dir, title)
        with self._turns.running(flow_run.id, child.pid):
            task_status.started(process_handle(child))
            await child.wait()
        if flow_run.id in self._supervision.stopped:
            self._supervision.stopped.discard(flow_run.id)
            child.returncode = 0


class WarmWorker(SelectsRuns, BaseWorker[WarmJobConfiguration, WarmVariables, WarmWorkerResult]):
    """Run each flow run in a child forked from a warm process.

    Parameters
    ----------
    modules
        What the fork server imports beforehand: the modules that the deployments' flows come from.
    output
        File to which all runs append what they print.
    """

    type = "warm"
    job_configuration = WarmJobConfiguration
    job_configuration_variables = WarmVariables
    _display_name = "Warm"
    _description = "Forks each flow run from a process that has everything imported: it starts within a second."

    def __init__(
        self, *arguments: Any, modules: Sequence[str] = FLOW_MODULES, output: Path | None = None, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self.forker = Forker(modules, output or get_settings().home / "logs" / "flow-runs.log")
        self._supervision = RunSupervision()
        self._at_work: set[UUID] = set()
        self._none_at_work = asyncio.Event()
        self._adopting: asyncio.Task[None] | None = None
        home = get_settings().home.resolve()
        self.adoption = Adoption(self._supervision, home, self._work_pool_name, self.name, self._has_taken)
        # Of a worker that isn't a site's service, the processes can't be told from another's
        self._adopts = os.environ.get(SERVICE_MARK) == str(home)
        self._is_ending = False
        self._looking = asyncio.Lock()  # both Prefect's poll and the events of scheduled runs look
        self.turns = Turns(
            site_limits(get_settings()),
            RunsUnderWay(self.is_starting),
            site_beamlines(),
            count_others=lambda: self.adoption.adopted_count,
        )

    @property
    def live_runs(self) -> int:
        """How many runs have a process, or are about to: those that this worker has taken, and those it has adopted."""
        return len(self._at_work | self._submitting_flow_run_ids) + self.adoption.adopted_count

    def _has_taken(self, flow_run_id: UUID) -> bool:
        return flow_run_id in self._at_work or flow_run_id in self._submitting_flow_run_ids

    async def setup(self) -> None:
        """Warm up, connect to the API, and look after the runs that earlier workers left."""
        await self.forker.start()
        await super().setup()
        await self._supervision.__aenter__()
        if self._adopts:
            self._adopting = asyncio.create_task(self.adoption.keep_looking())

    async def teardown(self, *exc_info: Any) -> None:
        """Leave what still runs to the next worker, or end it if that couldn't find it, and disconnect."""
        if self._adopts:
            await self.leave_runs()
        else:
            await self.end_runs()
        await self._supervision.__aexit__(None, None, None)
        await super().teardown(*exc_info)

    async def end_runs(self, grace: float = 10.0) -> None:
        """Take no more runs, end those that run within `grace` seconds, and report them, as ended with the site."""
        with anyio.CancelScope(shield=True):  # it's called while the worker is being cancelled, too
            await self._take_no_more()
            await asyncio.gather(self._note_planned_ends(grace), self.forker.stop(grace), self.adoption.end_runs(grace))
            with suppress(TimeoutError):
                async with asyncio.timeout(_REPORTING_S):
                    while self._at_work:
                        await self._none_at_work.wait()

    async def _note_planned_ends(self, patience_s: float) -> None:
        if ended := self._at_work | self.adoption.adopted:  # before it's set up, it has neither runs nor a client
            await note_planned_ends(self._supervision.client, ended, patience_s)

    async def leave_runs(self) -> None:
        """Take no more runs, and leave those that run to the next worker: their processes go on."""
        with anyio.CancelScope(shield=True):
            await self._take_no_more()
        self._supervision.leave_runs()
        self.adoption.leave_runs()

    async def _take_no_more(self) -> None:
        self._is_ending = True
        if self._adopting is not None:
            self._adopting.cancel()
            await asyncio.wait([self._adopting])

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """Look for runs, except while the worker is ending; one look at a time, so that none is taken twice."""
        async with self._looking:
            return [] if self._is_ending else await super().get_and_submit_flow_runs()

    async def select_runs(self) -> list[WorkerFlowRunResponse]:
        """Return the runs whose turn it is."""
        if self.turns.is_look_due:
            await self.turns.look(self.list_scheduled_runs, self._list_decisions)
        return await self.turns.take(self._still_scheduled)

    async def _list_decisions(self) -> list[WorkerFlowRunResponse] | None:
        # With a limit of the pool, what is listed for one queue says nothing of what else may start
        if self.work_pool.concurrency_limit is not None:
            return None
        try:
            return await self.client.get_scheduled_flow_runs_for_work_pool(
                self._work_pool_name, [DECISION_QUEUE], scheduled_before=datetime.now(UTC)
            )
        except ObjectNotFound:  # a pool without that queue
            return None

    async def _still_scheduled(self, runs: Collection[UUID]) -> set[UUID]:
        # A run that was cancelled could be started: Prefect takes that for a retry
        scheduled = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
        wanted = FlowRunFilter(id=FlowRunFilterId(any_=[*runs]), state=scheduled)
        return {run.id for run in await self.client.read_flow_runs(flow_run_filter=wanted)}

    async def run(
        self,
        flow_run: FlowRun,
        configuration: WarmJobConfiguration,
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> WarmWorkerResult:
        """Run a flow run to its end under Prefect's supervision, which reports a crash and runs the hooks."""
        self._at_work.add(flow_run.id)
        self._none_at_work.clear()
        try:
            return await self._run(flow_run, configuration, task_status)
        finally:
            self._at_work.discard(flow_run.id)
            if not self._at_work:
                self._none_at_work.set()

    async def _run(
        self,
        flow_run: FlowRun,
        configuration: WarmJobConfiguration,
        task_status: anyio.abc.TaskStatus[int] | None,
    ) -> WarmWorkerResult:
        starter = ForkStarter(self.forker, self._supervision, self.turns, configuration)
        # Not proposed as submitted: Prefect's base class has set the run to Pending already
        executor = self._supervision.create_executor(
            flow_run, starter, resolve_flow=load_flow_from_flow_run, propose_submitting=False
        )
        pid = ""

        async def execute(*, task_status: anyio.abc.TaskStatus[Any]) -> None:
            await executor.submit(task_status=task_status)

        async with anyio.create_task_group() as group:
            handle = await group.start(execute)
            pid = str(handle.pid)
            if task_status is not None:
                task_status.started(handle.pid)
        # Always 0: the supervision has reported a crash. A non-zero status would make Prefect's base class report it
        # again, on top of a run that may have been scheduled anew meanwhile.
        return WarmWorkerResult(status_code=0, identifier=pid)
