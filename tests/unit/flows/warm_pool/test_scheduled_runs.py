"""Watching runs by Prefect's events."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from flows.warm_pool import scheduled_runs
from flows.warm_pool.scheduled_runs import watch_runs


async def test_an_outage_is_told_once_and_its_end_once(monkeypatch, caplog):
    answers = [ConnectionError("refused")] * 3 + ["come"] + [ConnectionError("refused")] * 2 + ["come"]
    all_said = asyncio.Event()

    @asynccontextmanager
    async def subscribe(**_):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        yield no_events()

    async def no_events():
        if not answers:
            all_said.set()
            await asyncio.Event().wait()
        for _ in ():
            yield

    monkeypatch.setattr(scheduled_runs, "get_events_subscriber", subscribe)
    monkeypatch.setattr(scheduled_runs, "RECONNECT_S", 0.0)
    watching = asyncio.create_task(watch_runs({}))
    await asyncio.wait_for(all_said.wait(), 5)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    told = [record.message.partition(" (")[0] for record in caplog.records]
    assert told == ["can't watch runs", "runs are watched again"] * 2
