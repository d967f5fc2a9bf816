"""What the warm worker takes from Prefect's private modules is there, in the version that we're written for."""

from __future__ import annotations

import asyncio
import inspect
from importlib import import_module
from uuid import uuid4

import httpx
import prefect
import pytest
from prefect import flow, get_client
from prefect.client.base import PrefectHttpxAsyncClient, PrefectHttpxSyncClient
from prefect.states import Cancelling

from flows.warm_pool._prefect_private import (
    ENGINE_MODULES,
    PREFECT_VERSION,
    RunSupervision,
    expect_outages,
    process_handle,
)
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
    "prefect.runner._hook_runner:HookRunner.__init__": ("self", "resolve_flow"),
    "prefect.runner._hook_runner:HookRunner.run_cancellation_hooks": ("self", "flow_run", "state"),
    "prefect.runner._hook_runner:HookRunner.run_crashed_hooks": ("self", "flow_run", "state"),
    "prefect.runner._process_manager:ProcessManager.add": ("self", "flow_run_id", "handle"),
    "prefect.runner._process_manager:ProcessManager.remove": ("self", "flow_run_id"),
    "prefect.runner._process_manager:ProcessTerminationScope.graceful_kill": ("self", "pid"),
    "prefect.runner._state_proposer:StateProposer.propose_cancelled": ("self", "flow_run", "state_updates"),
    "prefect.runner._state_proposer:StateProposer.propose_crashed": ("self", "flow_run", "message"),
    "prefect.workers.base:BaseWorker._get_scheduled_flow_runs": ("self",),
    "prefect._internal.observers:FlowRunCancellingObserver.__aenter__": ("self",),
    "prefect._internal.observers:FlowRunCancellingObserver._dispatch": ("self", "flow_run_id", "registration"),
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
        assert "_hook_runner" in vars(supervision._cancellation_manager)
        assert supervision.process_manager._process_map == {}


async def test_processes_that_are_left_outlive_the_supervision(prefect_server):
    process = await asyncio.create_subprocess_exec("sleep", "60", start_new_session=True)
    try:
        async with RunSupervision() as supervision:
            await supervision.process_manager.add(uuid4(), process_handle(process))
            supervision.leave_runs()
        assert process.returncode is None
    finally:
        process.kill()
        await process.wait()


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


@pytest.mark.parametrize("client", [PrefectHttpxAsyncClient, PrefectHttpxSyncClient])
def test_what_says_that_a_client_has_been_answered_is_there(client):
    assert client()._has_connected is False


def test_in_a_run_s_process_a_first_connection_that_is_refused_is_tried_again(monkeypatch):
    for client in (PrefectHttpxAsyncClient, PrefectHttpxSyncClient):
        monkeypatch.setattr(client, "_has_connected", None, raising=False)  # is put back
    expect_outages()
    tries = []

    def restarting(request):
        tries.append(request)
        if len(tries) < 3:
            raise httpx.ConnectError("Connection refused")
        return httpx.Response(200)

    monkeypatch.setattr("prefect.client.base.time.sleep", lambda seconds: None)
    with PrefectHttpxSyncClient(transport=httpx.MockTransport(restarting)) as client:
        assert client.get("http://127.0.0.1/api/health").status_code == 200
    assert len(tries) == 3
