"""The one place that uses names which Prefect keeps private: what the warm worker can't do without.

Prefect has no way of its own to run a flow in a forked process. Its executor, which reports crashes and carries
cancellation, is private, and so is the engine's entry. The contract test of this file (`test_prefect_private.py`)
holds it and the installed version of Prefect together.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from prefect.client.base import PrefectHttpxAsyncClient, PrefectHttpxSyncClient
from prefect.flows import load_flow_from_flow_run
from prefect.runner._flow_run_executor import FlowRunExecutorContext
from prefect.runner._hook_runner import HookRunner
from prefect.runner._process_manager import ProcessHandle, create_isolated_termination_scope

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import WorkerFlowRunResponse
    from prefect.workers.base import BaseWorker

    _AnyWorker = BaseWorker[Any, Any, Any]
else:
    _AnyWorker = object

__all__ = ["ENGINE_MODULES", "PREFECT_VERSION", "RunSupervision", "SelectsRuns", "process_handle", "run_flow_run"]

PREFECT_VERSION = "3.9.1"

# what a flow run imports before its first line: imported once, before the forks
ENGINE_MODULES = (
    "prefect.client.orchestration",
    "prefect.deployments.steps.core",
    "prefect.deployments.steps.pull",
    "prefect.engine",
    "prefect.events.worker",
    "prefect.flow_engine",
    "prefect.logging.handlers",
    "prefect.runner.storage",
    "prefect.task_engine",
)

logger = logging.getLogger(__name__)


class _KilledGroup:
    """End an adopted process with its group, at once.

    The connection by which it would have been told that it's cancelled went with its worker. At SIGTERM it would report
    a crash, which automations and people would take for one.
    """

    wait_after_graceful_kill = True

    def is_alive(self, pid: int) -> bool:
        return create_isolated_termination_scope(pid).is_alive(pid)

    def graceful_kill(self, pid: int) -> None:
        self.hard_kill(pid)

    def hard_kill(self, pid: int) -> None:
        os.killpg(pid, signal.SIGKILL)

    def close(self) -> None:
        """Do nothing: there's nothing to be closed."""


class RunSupervision(FlowRunExecutorContext):
    """Prefect's supervision of flow-run processes, shared by all runs of a worker.

    Prefect makes one for each run and gives up on cancellation when the API stays away for long. This one lives as
    long as the worker, so it goes on asking.
    """

    def __init__(self) -> None:
        self._observing_again: asyncio.Task[None] | None = None
        self._leaves_runs = False
        self.stopped: set[UUID] = set()
        """Runs whose processes are ended while their state stays: that they were killed is nothing to be reported."""

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        # Prefect puts the hooks of the last run that it started here: until then there would be none
        self._hook_runner = HookRunner(resolve_flow=load_flow_from_flow_run)
        self._cancellation_manager._hook_runner = self._hook_runner  # noqa: SLF001
        return self

    def leave_runs(self) -> None:
        """Leave runs alone from now on: ending, it would kill their processes."""
        self._leaves_runs = True

    @property
    def watched(self) -> set[UUID]:
        """The runs whose processes it watches."""
        return self.process_manager.flow_run_ids()

    @asynccontextmanager
    async def watching(self, flow_run_id: UUID, process: Any) -> AsyncIterator[None]:
        """Watch a run's process that an earlier worker started: cancelled, it's killed, and the run's hooks run."""
        await self.process_manager.add(flow_run_id, ProcessHandle(process, termination_scope=_KilledGroup()))
        try:
            yield
        finally:
            await self.process_manager.remove(flow_run_id)

    def cancel(self, flow_run_id: UUID) -> None:
        """End a watched run of which it has been told too early, or never, that it's cancelled."""
        self._observer._dispatch(flow_run_id, self._observer._registrations.get(flow_run_id))  # noqa: SLF001

    async def report_crashed(self, flow_run: FlowRun, message: str) -> None:
        """Report a run as crashed, and run its hooks."""
        state = await self._state_proposer.propose_crashed(flow_run, message)
        if state is not None:
            await self._hook_runner.run_crashed_hooks(flow_run, state)

    async def report_cancelled(self, flow_run: FlowRun, message: str) -> None:
        """Report a run that is being cancelled as cancelled, and run its hooks."""
        assert flow_run.state is not None
        await self._hook_runner.run_cancellation_hooks(flow_run, flow_run.state)
        await self._state_proposer.propose_cancelled(flow_run, {"message": message})

    async def __aexit__(self, *exc_info: Any) -> bool | None:
        if self._leaves_runs:
            self.process_manager._process_map.clear()  # noqa: SLF001
        if self._observing_again is not None:
            self._observing_again.cancel()
            await asyncio.wait([self._observing_again])
        return await super().__aexit__(*exc_info)

    def _handle_cancellation_observer_failure(self, flow_run_ids: set[UUID]) -> None:
        logger.warning("cancellations were out of reach for %d runs: asking on", len(flow_run_ids))
        self._observing_again = asyncio.create_task(self._observe_again())

    async def _observe_again(self) -> None:
        """Take the observer out of its context and into it anew: it connects, or asks until it can."""
        await self._observer._exit_stack.aclose()  # noqa: SLF001  # not __aexit__, after which it dispatches no more
        await self._observer.__aenter__()

    def attempt_environment(self, flow_run: FlowRun) -> dict[str, str]:
        """Return the variables by which a run's process finds its run and its control connection."""
        port, token = self.control_channel.register(flow_run.id)
        return {
            "PREFECT__FLOW_RUN_ID": str(flow_run.id),
            "PREFECT__CONTROL_PORT": str(port),
            "PREFECT__CONTROL_TOKEN": token,
            # the supervision runs these hooks; the flow's process must not run them again
            "PREFECT__ENABLE_CANCELLATION_AND_CRASHED_HOOKS": "false",
        }


class SelectsRuns(_AnyWorker):
    """What makes a worker of Prefect's take the runs that it selects; comes before `BaseWorker` among the bases."""

    async def select_runs(self) -> list[WorkerFlowRunResponse]:
        """Return the runs that are to start now."""
        raise NotImplementedError

    async def list_scheduled_runs(self) -> list[WorkerFlowRunResponse]:
        """Ask the API for the runs that wait, as Prefect's own worker does."""
        return await super()._get_scheduled_flow_runs()

    def is_starting(self, run: UUID) -> bool:
        """Tell whether a run that has been selected is still about to be started."""
        return run in self._submitting_flow_run_ids

    async def _get_scheduled_flow_runs(self) -> list[WorkerFlowRunResponse]:
        return await self.select_runs()


def process_handle(process: Any) -> ProcessHandle:
    """Wrap a process that leads its own group, with `pid` and `returncode`, for Prefect's supervision."""
    return ProcessHandle(process, termination_scope=create_isolated_termination_scope(process.pid))


def expect_outages() -> None:
    """Have all of Prefect's clients in this process wait for an API that can't be connected to, from the first time on.

    By itself a client does so only once it has been answered: else the address might be wrong. A run's process has the
    address from a worker that has just been told of the run, so the server is being started again.
    """
    always = property(lambda client: True, lambda client, has_connected: None)
    for client in (PrefectHttpxAsyncClient, PrefectHttpxSyncClient):
        client._has_connected = always  # type: ignore[assignment]  # noqa: SLF001


def run_flow_run(flow_run_id: UUID) -> int:
    """Run a flow run in this process, as `python -m prefect.engine` does.

    Returns
    -------
    int
        The exit status of the process.
    """
    from prefect._internal.control_listener import configure_from_env
    from prefect.context import SettingsContext, get_settings_context
    from prefect.engine import _drive_run_flow_result, handle_engine_signals
    from prefect.flow_engine import load_flow, load_flow_run, run_flow
    from prefect.logging.loggers import flow_run_logger
    from prefect.settings import Settings

    configure_from_env()
    expect_outages()
    # the fork server read its settings from its own environment: read them again from this run's
    with SettingsContext(profile=get_settings_context().profile, settings=Settings()):
        try:
            with handle_engine_signals(flow_run_id):
                flow_run = load_flow_run(flow_run_id)
                run_logger = flow_run_logger(flow_run=flow_run)
                try:
                    flow = load_flow(flow_run)
                except Exception:
                    run_logger.exception("The flow could not be loaded")
                    raise
                # It's typed for a Logger and only logs by it, which this LoggerAdapter does as well
                run = run_flow(flow, flow_run=flow_run, error_logger=run_logger)  # type: ignore[arg-type]
                _drive_run_flow_result(flow, run)
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 1
        except BaseException:
            sys.excepthook(*sys.exc_info())
            return 1
    return 0
