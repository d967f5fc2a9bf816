"""Deploying while somebody else does the same."""

from __future__ import annotations

from types import SimpleNamespace

from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

import flows.warm_pool.worker  # noqa: F401  # the type of work pool
from flows.deploying.apply import _apply_pool
from flows.deploying.files import WorkPool, WorkQueue


class Api:
    """Prefect's, on which another one is always a little sooner."""

    def __init__(self):
        self.asked = []

    async def read_work_pool(self, name):
        raise ObjectNotFound(http_exc=Exception("not yet"))

    async def create_work_pool(self, pool):
        self.asked.append(pool.name)
        raise ObjectAlreadyExists(http_exc=Exception("by now"))

    async def read_work_queues(self, work_pool_name):
        return [SimpleNamespace(name="there", priority=1)]

    async def create_work_queue(self, name, **_):
        self.asked.append(name)
        raise ObjectAlreadyExists(http_exc=Exception("by now"))


async def test_what_another_one_creates_at_the_same_time_is_there():
    api = Api()
    queues = tuple(WorkQueue(name=name, priority=1) for name in ("there", "events", "runs"))
    await _apply_pool(api, WorkPool(name="plaza", type="warm", queues=queues))
    assert api.asked == ["plaza", "events", "runs"]
