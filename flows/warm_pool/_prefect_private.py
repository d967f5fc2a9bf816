"""The one place that uses names which Prefect keeps private: what the warm worker can't do without.

Prefect has no way of its own to run a flow in a forked process. Its executor, which reports crashes and carries
cancellation, is private, and so is the engine's entry. The contract test of this file (`test_prefect_private.py`)
holds it and the installed version of Prefect together.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.runner._flow_run_executor import FlowRunExecutorContext
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


class RunSupervision(FlowRunExecutorContext):
    """Prefect's supervision of flow-run processes, shared by all runs of a worker.

    Prefect makes one for each run and gives up on cancellation when the API stays away for long. This one lives as
    long as the worker, so it goes on asking.
    """

    _observing_again: asyncio.Task[None] | None = None

    async def __aexit__(self, *exc_info: Any) -> bool | None:
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
