"""The worker's look at the runs that it hasn't started: which it judges, and what it does about each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
from prefect.states import AwaitingRetry, Cancelling, Pending, Running, Suspended

from flows.warm_pool import adoption
from flows.warm_pool.adoption import GONE, GONE_AT_START, Adoption
from flows.warm_pool.run_processes import RunProcesses

EARLIER = datetime.now(UTC) - timedelta(minutes=5)


class Api:
    """As much of Prefect's client as the adoption asks."""

    def __init__(self):
        self.runs = []
        self.now = {}
        self.set_states = []

    async def read_flow_runs(self, *, limit, offset, **_filters):
        return self.runs[offset : offset + limit]

    async def read_flow_run(self, flow_run_id):
        return self.now[flow_run_id]

    async def set_flow_run_state(self, flow_run_id, state):
        self.set_states.append((flow_run_id, state.name))

    def add(self, state, worker="warm here", now=None):
        state.timestamp = EARLIER
        labels = {} if worker is None else {"prefect.worker.name": worker}
        run = FlowRun(id=uuid4(), flow_id=uuid4(), name="run", state=state, labels=labels)
        self.runs.append(run)
        self.now[run.id] = run if now is None else run.model_copy(update={"state": now})
        return run.id


class Supervision:
    """What is reported by the adoption."""

    def __init__(self, client):
        self.client, self.stopped = client, set()
        self.crashed, self.cancelled = {}, {}

    async def report_crashed(self, run, message):
        self.crashed[run.id] = message

    async def report_cancelled(self, run, message):
        self.cancelled[run.id] = message


@pytest.fixture
def api():
    return Api()


@pytest.fixture
def supervision(api):
    return Supervision(api)


@pytest.fixture
def processes(monkeypatch):
    """What the kernel says: no process has a run, unless a test says otherwise."""
    found = {"now": RunProcesses({})}
    monkeypatch.setattr(adoption, "find_run_processes", lambda home: found["now"])
    return found


@pytest.fixture
def taken():
    return set()


@pytest.fixture
def adopting(supervision, processes, taken, tmp_path):
    with temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: False}):  # else a run's first line starts a server
        yield Adoption(supervision, tmp_path, "pool", "warm here", taken.__contains__)


async def test_runs_without_a_process_are_reported_or_taken_again(adopting, api, supervision):
    running, cancelling, pending = api.add(Running()), api.add(Cancelling()), api.add(Pending(), worker=None)
    suspended = api.add(Suspended(timeout_seconds=60))
    await adopting.look()
    assert set(supervision.crashed) == {running}
    assert supervision.crashed[running].lower() == GONE_AT_START
    assert set(supervision.cancelled) == {cancelling}
    assert api.set_states == [(pending, "Scheduled")]
    assert suspended not in {*supervision.crashed, *supervision.cancelled}


async def test_report_of_a_later_look_does_not_speak_of_the_start(adopting, api, supervision):
    await adopting.look()
    run = api.add(Running())
    await adopting.look()
    assert supervision.crashed[run].lower() == GONE.lower()


async def test_run_that_was_scheduled_anew_meanwhile_is_left(adopting, api, supervision):
    api.add(Running(), now=AwaitingRetry())
    await adopting.look()
    assert not supervision.crashed


async def test_run_of_this_worker_is_left(adopting, api, supervision, taken):
    taken.add(api.add(Running()))
    await adopting.look()
    assert not supervision.crashed


async def test_run_of_a_worker_of_another_name_is_left(adopting, api, supervision):
    api.add(Running(), worker="warm elsewhere")
    assert await adopting.look()
    assert not supervision.crashed


async def test_no_run_is_called_dead_while_a_process_can_not_be_told(adopting, api, supervision, processes):
    run = api.add(Running())
    processes["now"] = RunProcesses({}, is_complete=False)
    assert not await adopting.look()
    assert not supervision.crashed
    processes["now"] = RunProcesses({})
    assert await adopting.look()
    assert supervision.crashed[run].lower() == GONE_AT_START  # it still was the first look


async def test_all_runs_are_seen_however_many(adopting, api, supervision):
    runs = {api.add(Running()) for _ in range(450)}
    await adopting.look()
    assert set(supervision.crashed) == runs


async def test_run_that_can_not_be_reported_is_tried_again_and_keeps_no_other_from_it(adopting, api, supervision):
    failing, other = api.add(Running()), api.add(Running())
    run = api.now.pop(failing)
    assert not await adopting.look()
    assert set(supervision.crashed) == {other}
    api.now[failing] = run
    await adopting.look()
    assert failing in supervision.crashed
