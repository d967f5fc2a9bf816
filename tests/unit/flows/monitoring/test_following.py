"""Following runs on Prefect's server."""

from datetime import UTC, datetime
from uuid import UUID

import httpx
import pytest

from flows.demo.demonstration import both
from flows.monitoring import following as watching
from flows.monitoring.following import NoProgress, WatchedRun, follow

NOW = datetime.now(UTC)
DECISION = WatchedRun(UUID(int=1), "mimas end · dcid 1", 1, "Completed", "", True, 0.1, 0.2, None)


async def follow_answers(monkeypatch, *answers, timeout_s=5.0):
    """Follow one event on a server that gives these answers, the last one for ever."""
    coming = list(answers)

    async def read_runs(client, since, dcids):
        answer = coming.pop(0) if len(coming) > 1 else coming[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(watching, "read_runs", read_runs)
    monkeypatch.setattr(watching, "POLL_S", 0.01)
    return await follow(None, NOW, [1], events_expected=lambda: 1, show=lambda _: None, timeout_s=timeout_s)


async def test_a_server_that_restarts_is_waited_for(monkeypatch):
    away = httpx.ConnectError("All connection attempts failed")
    assert await follow_answers(monkeypatch, away, (), away, (DECISION,)) == (DECISION,)


async def test_when_nothing_happens_it_says_what_still_runs(monkeypatch):
    running = WatchedRun(UUID(int=2), "archive-cbfs · dcid 1", 1, "Running", "", False, 0.1, 0.2, None)
    with pytest.raises(NoProgress, match=r"archive-cbfs · dcid 1 \(Running\)"):
        await follow_answers(monkeypatch, (DECISION, running), timeout_s=0.05)


async def test_the_first_of_two_that_fails_is_raised_by_itself():
    async def fail():
        raise NoProgress("no run")

    async def wait():
        await watching.asyncio.Event().wait()

    with pytest.raises(NoProgress, match="no run"):
        await both(wait(), fail())
