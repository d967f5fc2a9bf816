"""Runs are created in turn for those outside, and at once for the site's own processes."""

from __future__ import annotations

import asyncio

import pytest
from prefect.client.attribution import get_attribution_headers

from flows.site.api_server.creations_in_turn import _OF_A_WORKER, CreationsInTurn

CREATION = "/api/deployments/1/create_flow_run"


class App:
    """Prefect's application, which takes as long as the test wants."""

    def __init__(self):
        self.go_on = asyncio.Event()
        self.within, self.most, self.bodies = 0, 0, []

    async def __call__(self, scope, receive, send):
        self.within += 1
        self.most = max(self.most, self.within)
        body, more = b"", scope["method"] == "POST"
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.bodies.append(body)
        await self.go_on.wait()
        self.within -= 1


def request(app, path=CREATION, method="POST", headers=(), messages=()):
    left = list(messages) or [{"type": "http.request", "body": b"{", "more_body": True}, {"body": b"}"}]

    async def receive():
        return left.pop(0) if left else await asyncio.Future()

    scope = {"type": "http", "method": method, "path": path, "headers": headers}
    return asyncio.create_task(app(scope, receive, None))


async def let_all_go_on():
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        ({}, 1),
        ({"path": CREATION + "/"}, 1),
        ({"headers": [(b"x-prefect-flow-id", b"1")]}, 1),  # a flow in somebody's own process
        ({"headers": [(b"X-Prefect-Worker-Id", b"1")]}, 5),
        ({"method": "GET"}, 5),
        ({"path": "/api/flow_runs/filter"}, 5),
    ],
)
async def test_who_waits_for_a_turn(kind, most):
    prefect = App()
    app = CreationsInTurn(prefect)
    requests = [request(app, **kind) for _ in range(5)]
    await let_all_go_on()
    assert prefect.within == most
    prefect.go_on.set()
    await asyncio.gather(*requests)
    assert (prefect.most, len(prefect.bodies)) == (most, 5)


def test_prefect_says_in_a_header_whether_a_worker_or_its_run_asks(monkeypatch):
    monkeypatch.setenv("PREFECT__WORKER_ID", "1")
    assert _OF_A_WORKER.decode() in {name.lower() for name in get_attribution_headers()}


async def test_the_body_arrives_whole():
    prefect = App()
    prefect.go_on.set()
    await request(CreationsInTurn(prefect))
    assert prefect.bodies == [b"{}"]


async def test_who_sends_no_body_keeps_nobody_waiting():
    prefect = App()
    prefect.go_on.set()
    app = CreationsInTurn(prefect)
    silent = [request(app, messages=[{"body": b"{", "more_body": True}]) for _ in range(3)]
    async with asyncio.timeout(10):
        await request(app)
    assert prefect.bodies == [b"{}"]
    for each in silent:
        each.cancel()


async def test_nothing_is_created_for_who_has_gone_away_while_waiting():
    prefect = App()
    app = CreationsInTurn(prefect)
    gone = [{"body": b"gone"}, {"type": "http.disconnect"}]
    requests = [request(app), request(app, messages=gone), request(app)]
    await let_all_go_on()
    prefect.go_on.set()
    await asyncio.gather(*requests)
    assert prefect.bodies == [b"{}", b"{}"]


async def test_other_connections_are_passed_on():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    for kind in ("websocket", "lifespan"):
        await CreationsInTurn(app)({"type": kind, "path": CREATION}, None, None)
    assert seen == ["websocket", "lifespan"]
