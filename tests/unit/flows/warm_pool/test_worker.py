"""What becomes of a worker's runs when it ends, whatever for."""

from __future__ import annotations

from uuid import UUID

import pytest
from prefect.workers.base import BaseWorker

from flows.warm_pool.run_processes import SERVICE_MARK
from flows.warm_pool.worker import WarmWorker


@pytest.fixture
def done(monkeypatch):
    """What the worker does about its runs, by name."""
    done = []

    def noted(name):
        async def note(self, *_arguments):
            done.append(name)

        return note

    monkeypatch.setattr(WarmWorker, "end_runs", noted("ends"))
    monkeypatch.setattr(WarmWorker, "leave_runs", noted("leaves"))
    monkeypatch.setattr("flows.warm_pool.worker.RunSupervision.__aexit__", noted("disconnects"))
    monkeypatch.setattr(BaseWorker, "teardown", noted("is gone"))
    return done


async def test_worker_of_a_site_that_fails_leaves_its_runs_to_the_next(home, done, monkeypatch):
    monkeypatch.setenv(SERVICE_MARK, str(home))
    await WarmWorker("pool").teardown()
    assert done == ["leaves", "disconnects", "is gone"]


async def test_worker_that_was_started_by_hand_ends_its_runs_as_no_other_would_find_them(home, done, monkeypatch):
    monkeypatch.delenv(SERVICE_MARK, raising=False)
    await WarmWorker("pool").teardown()
    assert done == ["ends", "disconnects", "is gone"]


async def test_runs_that_end_with_the_site_are_noted_as_that(home, monkeypatch):
    noted = []

    async def note(client, runs, patience_s):
        noted.append(runs)

    monkeypatch.setattr("flows.warm_pool.worker.note_planned_ends", note)
    worker, run = WarmWorker("pool"), UUID(int=1)
    worker._supervision.client = None  # it isn't connected
    worker._at_work.add(run)

    async def stop(grace):
        worker._at_work.clear()

    monkeypatch.setattr(worker.forker, "stop", stop)
    await worker.end_runs(grace=1)
    assert noted == [{run}]
