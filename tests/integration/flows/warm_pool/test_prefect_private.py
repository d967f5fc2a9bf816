"""What the warm worker takes from Prefect's private modules is there, in the version that we're written for."""

from __future__ import annotations

import asyncio
import inspect
from importlib import import_module
from uuid import uuid4

import prefect
import pytest
from prefect import flow, get_client
from prefect.states import Cancelling

from flows.warm_pool._prefect_private import ENGINE_MODULES, PREFECT_VERSION, RunSupervision
from flows.warm_pool.worker import WarmWorker

SIGNATURES = {
    "prefect._internal.control_listener:configure_from_env": (),
    "prefect.engine:_drive_run_flow_result": ("flow", "run_result"),
    "prefect.engine:handle_engine_signals": ("flow_run_id",),
    "prefect.flow_engine:flow_run_logger": ("flow_run", "flow", "flow_run_id", "kwargs"),
    "prefect.flow_engine:load_flow": ("flow_run",),
    "prefect.flow_engine:load_flow_run": ("flow_run_id",),
    "prefect.flow_engine:run_flow": (
        "flow",
        "flow_run",
        "parameters",
        "wait_for",
        "return_type",
        "error_logger",
        "context",
    ),
    "prefect.runner._control_channel:ControlChannel.register": ("self", "flow_run_id"),
    "prefect.runner._flow_run_executor:FlowRunExecutor.submit": ("self", "task_status"),
    "prefect.runner._flow_run_executor:FlowRunExecutorContext._handle_cancellation_observer_failure": (
        "self",
        "flow_run_ids",
    ),
    "prefect.runner._flow_run_executor:FlowRunExecutorContext.create_executor": (
        "self",
        "flow_run",
        "starter",
        "resolve_flow",
        "propose_submitting",
        "hook_runner",
    ),
    "prefect.runner._process_manager:ProcessHandle.__init__": ("self", "_process", "termination_scope"),
    "prefect.runner._process_manager:create_isolated_termination_scope": ("pid",),
    "prefect.workers.base:BaseWorker._get_scheduled_flow_runs": ("self",),
    "prefect._internal.observers:FlowRunCancellingObserver.__aenter__": ("self",),
    "prefect._internal.observers:FlowRunCancellingObserver._handle_unavailable": ("self", "error"),
}


def test_prefect_is_the_version_that_the_warm_worker_is_written_for():
    assert prefect.__version__ == PREFECT_VERSION


@pytest.mark.parametrize("reference", SIGNATURES)
def test_private_name_has_the_expected_signature(reference):
    module, _, path = reference.partition(":")
    found = import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    assert tuple(inspect.signature(found).parameters) == SIGNATURES[reference]


@pytest.mark.parametrize("module", ENGINE_MODULES)
def test_module_to_preload_exists(module):
    import_module(module)


def test_a_worker_knows_which_runs_it_is_about_to_start():
    assert WarmWorker("a pool").is_starting(uuid4()) is False


async def test_supervision_has_the_parts_that_we_reach_into(prefect_server):
    async with RunSupervision() as supervision:
        assert supervision.control_channel.port > 0
        observer = supervision._observer
        assert {"_exit_stack", "_registrations"} <= vars(observer).keys()


async def test_a_cancellation_is_seen_after_the_observer_gave_up(prefect_server):
    seen = asyncio.Queue()
    async with RunSupervision() as supervision, get_client() as client:
        run = await client.create_flow_run(flow(lambda: None, name="to-be-cancelled"))
        observer = supervision._observer
        observer.on_cancelling = seen.put_nowait
        observer.add_in_flight_flow_run_id(run.id)
        await observer._exit_stack.aclose()
        observer._handle_unavailable(ConnectionError("the API was away for long"))
        await client.set_flow_run_state(run.id, Cancelling(), force=True)
        assert await asyncio.wait_for(seen.get(), 60) == run.id


async def test_supervision_ends_while_it_starts_to_observe_again(prefect_server):
    async with RunSupervision() as supervision:
        observer = supervision._observer
        observer._handle_unavailable(ConnectionError("the API was away for long"))
    assert not [task for task in asyncio.all_tasks() if "ObservationDelivery" in repr(task)]
