"""A run has one artifact of each key: over several processes, lost answers, and what people delete meanwhile."""

from contextlib import asynccontextmanager
from types import SimpleNamespace
from uuid import uuid4

import httpx
import pytest
from prefect.exceptions import ObjectNotFound

from flows import run_artifacts
from flows.run_artifacts import RunArtifact


class Api:
    """Prefect's, of one run: artifacts by id. `lost`: answers that don't arrive although the artifact was made."""

    def __init__(self):
        self.artifacts, self.lost, self.searches = {}, 0, 0

    async def read_artifacts(self, **_):
        self.searches += 1
        return [SimpleNamespace(id=id_, data=data) for id_, data in self.artifacts.items()]

    async def update_artifact(self, id_, update):
        if id_ not in self.artifacts:
            raise ObjectNotFound(Exception())
        self.artifacts[id_] = update.data

    def make(self, value):
        async def acreate():
            id_ = uuid4()
            self.artifacts[id_] = value
            if self.lost:
                self.lost -= 1
                raise httpx.ReadError("the server was killed")
            return SimpleNamespace(id=id_)

        async def aformat():
            return value

        return SimpleNamespace(acreate=acreate, aformat=aformat)

    @property
    def shown(self):
        return [*self.artifacts.values()]


@pytest.fixture
def api(monkeypatch):
    api = Api()

    @asynccontextmanager
    async def client():
        yield api

    monkeypatch.setattr(run_artifacts, "get_client", client)
    return api


@pytest.fixture
def process(api, monkeypatch):
    """Begin another process of the run, and return its artifact."""

    def process(earlier):
        monkeypatch.setattr(run_artifacts, "_this_run", lambda: SimpleNamespace(id=uuid4(), run_count=earlier))
        return RunArtifact("progress", api.make)

    return process


async def test_what_is_shown_again_changes_it(api, process):
    artifact = process(0)
    for value in (1, 2, 3):
        await artifact.show(value)
    assert (api.shown, api.searches) == ([3], 0)  # a run's first process needs no search


async def test_the_next_process_goes_on_with_it(api, process):
    await process(0).show(40)
    artifact = process(1)
    assert await artifact.value() == 40
    await artifact.show(100)
    assert (api.shown, api.searches) == ([100], 1)


async def test_one_that_the_process_before_never_made_is_made(api, process):
    artifact = process(1)
    assert await artifact.value() is None
    await artifact.show(5)
    assert api.shown == [5]


async def test_one_whose_making_was_not_answered_is_found(api, process):
    api.lost = 1
    artifact = process(0)
    with pytest.raises(httpx.ReadError):
        await artifact.show(1)
    await artifact.show(2)
    assert api.shown == [2]


async def test_one_that_was_deleted_is_made_anew(api, process):
    artifact = process(0)
    await artifact.show(1)
    api.artifacts.clear()
    await artifact.show(2)
    assert api.shown == [2]
