"""The bridge against a real RabbitMQ: what is taken, refused, held and published, and how often."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aio_pika
import pytest

from flows.cluster_statistics import read_statistics
from flows.events.bridge import intake, session
from flows.events.bridge.broadcasts import SERVICE_CLASS
from flows.events.bridge.publishing import LATE, REFUSED, UNCERTAIN
from flows.events.bridge.state import read_state
from tasks.broker_outbox import PUBLISHED, outbox_folder, put
from tests.support.dev_rabbitmq import Broker, DevRabbitMQ, await_on_disk
from tests.support.recording_site import serve, submitted

pytestmark = [pytest.mark.rabbitmq, pytest.mark.slow]

REQUESTS, DEAD_LETTERS = "processing_recipe", "dlq.processing_recipe"
PATIENCE_S = 40.0
GO = {"zocalo.go.user": "gda", "zocalo.go.host": "i03-ws001"}


async def until(condition: Callable[[], Any]) -> Any:
    """Wait for a condition, and return what it gave."""
    async with asyncio.timeout(PATIENCE_S):
        while not (found := condition()):
            await asyncio.sleep(0.05)
        return found


class Client:
    """What Zocalo's clients do on a broker."""

    def __init__(self, connection: aio_pika.abc.AbstractConnection, channel: aio_pika.abc.AbstractChannel) -> None:
        self.connection, self.channel = connection, channel

    async def send(self, content: Any, queue: str = REQUESTS, **properties: Any) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        message = aio_pika.Message(body, **{"headers": GO, "delivery_mode": 2} | properties)
        await self.channel.default_exchange.publish(message, queue, mandatory=True)

    async def count(self, queue: str) -> int:
        found = await self.channel.declare_queue(queue, passive=True)
        return found.declaration_result.message_count or 0

    async def until_counted(self, queue: str, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while await self.count(queue) != count:
                await asyncio.sleep(0.05)

    async def get(self, queue: str) -> aio_pika.abc.AbstractIncomingMessage:
        found = await self.channel.get_queue(queue, ensure=False)
        async with asyncio.timeout(PATIENCE_S):
            while (message := await found.get(no_ack=True, fail=False)) is None:
                await asyncio.sleep(0.05)
            return message


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Client]:
    connection = await aio_pika.connect(url)
    try:
        yield Client(connection, await connection.channel(on_return_raises=True))
    finally:
        await connection.close()


@asynccontextmanager
async def bridge(home: Path, url: str) -> AsyncIterator[asyncio.Event]:
    """Run the bridge in this process, connected when the block begins; gives what stops it."""
    (home / "bridge" / "state.json").unlink(missing_ok=True)
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(home, url, stop))
    try:
        await until(lambda: serving.done() or ((state := read_state(home)) and state.connected_since))
        yield stop
    finally:
        stop.set()
        async with asyncio.timeout(PATIENCE_S):
            await serving


def start_child(home: Path, url: str) -> subprocess.Popen[bytes]:
    """Start a bridge that may be killed."""
    return subprocess.Popen([sys.executable, "-m", "tests.support.recording_site", str(home), url])


def request(recipe: str = "a", **parameters: Any) -> dict[str, Any]:
    return {"recipes": [recipe], "parameters": parameters}


async def test_what_clients_take_for_granted_is_declared_as_at_diamond_and_what_is_there_stays(tmp_path, broker):
    async with connected(broker.url) as client:
        await client.channel.declare_queue("xrc.i04", durable=True, arguments={"x-max-length": 7})
    for _ in range(2):
        async with bridge(tmp_path, broker.url):
            pass
    path = quote(broker.vhost, safe="")
    queues = {queue["name"]: queue for queue in broker.ask(f"queues/{path}")}
    quorum = {"x-queue-type": "quorum"}
    assert {name: queue["arguments"] for name, queue in queues.items()} == {
        REQUESTS: {
            **quorum,
            "x-single-active-consumer": False,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": DEAD_LETTERS,
        },
        DEAD_LETTERS: quorum,
        "xrc.i03": {**quorum, "x-single-active-consumer": False},
        "xrc.i04": {"x-max-length": 7},
    }
    exchanges = {exchange["name"]: exchange for exchange in broker.ask(f"exchanges/{path}")}
    transient = [name for name, exchange in exchanges.items() if not exchange["durable"]]
    assert sorted(transient) == ["delayed", "results"]
    assert exchanges["results"]["type"] == "topic"
    assert {exchanges[name]["type"] for name in ("transient.status", "command", "transient.statistics.cluster")} == {
        "fanout"
    }
    bindings = {(each["source"], each["destination"]) for each in broker.ask(f"bindings/{path}") if each["source"]}
    assert bindings == {("delayed", REQUESTS), ("results", "xrc.i03"), ("results", "xrc.i04")}


GOOD = [
    (request("mimas", ispyb_dcid=1234, event="end"), {}),
    (request("mimas", ispyb_dcid="1234", event="start", filename=None, message_index=0), {}),
    ({"parameters": {"ispyb_process": 42}}, {"headers": None, "delivery_mode": 1}),
    (request(x={"nested": [[1]]}), {"headers": {"x-death": "[{'count': 1}]", "dlq-reinjected": "True", "odd": [1.5]}}),
]
BAD = [b"\xff not json", b"", b"[1]", b"[" * 100_000, request("unknown"), {"recipes": ["a"], "parameters": ["x"]}]


async def test_each_message_is_taken_or_is_one_dead_letter_and_the_bridge_lives_on(tmp_path, broker, caplog):
    async with bridge(tmp_path, broker.url), connected(broker.url) as client:
        for content in BAD:
            await client.send(content)
        for content, properties in GOOD:
            await client.send(content, **properties)
        await client.send(b'{"x": "' + b"a" * 10_000_000 + b'"}')
        await client.send(request("last"))
        await until(lambda: any(recipes == ["last"] for _, recipes, _, _ in submitted(tmp_path)))
        await client.until_counted(DEAD_LETTERS, len(BAD) + 1)
        await client.until_counted(REQUESTS, 0)
    assert [parameters for _, _, parameters, _ in submitted(tmp_path)[:-1]] == [
        content["parameters"] for content, _ in GOOD
    ]
    rejections = [record.getMessage() for record in caplog.records if "is rejected to" in record.getMessage()]
    assert len(rejections) == len(BAD) + 1
    assert all("gda at i03-ws001" in line for line in rejections)
    assert list((tmp_path / "bridge" / "journal").iterdir()) == []


@pytest.mark.parametrize("when", ["killed-at-submit", "killed-at-ack"])
async def test_a_message_is_run_once_though_the_bridge_is_killed_before_the_broker_knows(when, tmp_path, broker):
    (tmp_path / when).touch()
    async with bridge(tmp_path, broker.url):
        pass  # the queues are there
    async with connected(broker.url) as client:
        child = start_child(tmp_path, broker.url)
        await client.send(request(n=1))
        await asyncio.to_thread(child.wait, PATIENCE_S)
        assert child.returncode == -9
        async with bridge(tmp_path, broker.url):
            await client.send(request(n=1))  # once more, on purpose
            await until(lambda: len({mark for mark, *_ in submitted(tmp_path)}) == 2)
            await until(lambda: not list((tmp_path / "bridge" / "journal").iterdir()))
        assert await client.count(REQUESTS) == 0
        assert await client.count(DEAD_LETTERS) == 0
    assert len({mark for mark, *_ in submitted(tmp_path)}) == 2
    assert len(submitted(tmp_path)) == (3 if when == "killed-at-submit" else 2)  # by the same mark, it's one run


async def test_what_can_not_be_taken_now_waits_others_go_on_and_the_order_of_a_collection_stays(
    tmp_path, broker, monkeypatch
):
    monkeypatch.setattr(intake, "PAUSES", intake.Pauses(first_s=0.2, longest_s=0.2))
    (tmp_path / "away").touch()
    async with bridge(tmp_path, broker.url), connected(broker.url) as client:
        await client.send(request("job", ispyb_dcid=1))
        await client.send(request("second", ispyb_dcid=1))
        await client.send(request("other", ispyb_dcid=2))
        await until(lambda: submitted(tmp_path))
        (tmp_path / "full").touch()
        await client.send(request("third", ispyb_dcid=3))
        await until(lambda: (state := read_state(tmp_path)) and state.held == 3)
        assert [recipes for _, recipes, _, _ in submitted(tmp_path)] == [["other"]]
        for trouble in ("away", "full"):
            (tmp_path / trouble).unlink()
        await until(lambda: len(submitted(tmp_path)) == 4)
        await client.until_counted(DEAD_LETTERS, 0)
    assert [recipes for _, recipes, _, _ in submitted(tmp_path)] == [["other"], ["job"], ["second"], ["third"]]


async def test_what_is_held_is_not_lost_with_the_bridge_and_what_nobody_expects_is_a_dead_letter(
    tmp_path, broker, monkeypatch
):
    monkeypatch.setattr(intake, "PAUSES", intake.Pauses(first_s=0.05, longest_s=0.05))
    (tmp_path / "away").touch()
    async with connected(broker.url) as client:
        async with bridge(tmp_path, broker.url):
            await client.send(request("job"))
            await client.send(request("odd"))
            await client.until_counted(DEAD_LETTERS, 1)
        (tmp_path / "away").unlink()
        async with bridge(tmp_path, broker.url):
            await until(lambda: submitted(tmp_path))
        assert await client.count(DEAD_LETTERS) == 1


async def test_what_was_held_for_long_is_handed_to_the_site_as_it_is(tmp_path, broker, monkeypatch):
    monkeypatch.setattr(intake, "PAUSES", intake.Pauses(first_s=0.05, longest_s=0.05))
    monkeypatch.setattr(intake, "HELD_S", 0.5)
    (tmp_path / "away").touch()
    async with bridge(tmp_path, broker.url), connected(broker.url) as client:
        sent_at = time.monotonic()
        await client.send(request("job"))
        await until(lambda: submitted(tmp_path))
        assert time.monotonic() - sent_at >= 0.5
        await client.until_counted(REQUESTS, 0)


async def test_results_are_published_once_to_who_waits_and_what_is_late_is_kept_aside(tmp_path, broker):
    headers, now = {"workflows-recipe": True}, time.time()
    options = {"exchange": "results", "headers": headers, "expires_s": 60.0, "at_most_once": True, "home": tmp_path}
    put("xrc.i03", {"is": "late"}, at=now - 61, mark="late", **options)
    put("xrc.i03", {"is": "in time"}, at=now, mark="in time", **options)
    put("nobody-waits", {"is": "kept"}, home=tmp_path)
    put("x", {"is": "kept"}, exchange="no-such-exchange", home=tmp_path)
    hostile = put("x", {"is": "hostile"}, at=1.0, home=tmp_path)
    hostile.write_text(hostile.read_text().replace('"x"', f'"{"é" * 150}"'))
    sending = outbox_folder(tmp_path) / "sending"
    sending.mkdir()
    put("xrc.i03", {"is": "of a bridge that was killed"}, at=now, mark="?", **options).rename(sending / "x.json")
    async with bridge(tmp_path, broker.url), connected(broker.url) as client:
        message = await client.get("xrc.i03")
        assert json.loads(message.body) == {"is": "in time"}
        assert (message.headers["workflows-recipe"], message.delivery_mode) == (True, 2)
        assert 0 < (message.expiration or 0) <= 60
        put("xrc.i03", {"is": "in time"}, at=now, mark="in time", **options)
        await client.channel.declare_queue("nobody-waits")
        assert json.loads((await client.get("nobody-waits")).body) == {"is": "kept"}
        assert await client.count("xrc.i03") == 0
        await until(lambda: (state := read_state(tmp_path)) and "no-such-exchange" in state.not_taken_by)
    folder = outbox_folder(tmp_path)
    names = (".", PUBLISHED, LATE, UNCERTAIN, REFUSED, "sending")
    left = {name: len(list((folder / name).glob("*.json"))) for name in names}
    assert left == {".": 1, PUBLISHED: 1, LATE: 1, UNCERTAIN: 1, REFUSED: 1, "sending": 0}


async def test_it_speaks_as_a_service_of_zocalo_and_obeys(tmp_path, broker, monkeypatch):
    from blocks.settings import get_settings

    monkeypatch.setenv("PLAZA_HOME", str(tmp_path))
    get_settings.cache_clear()
    async with connected(broker.url) as client:
        async with bridge(tmp_path, broker.url) as stop:
            statuses = await client.channel.declare_queue(exclusive=True)
            await statuses.bind("transient.status")
            statistics = {"statistic": "job-states", "statistic-cluster": "slurm", "PENDING": 7}
            for content in (b"\xff", b"[]", json.dumps(statistics | {"statistic-timestamp": time.time()}).encode()):
                exchange = await client.channel.get_exchange("transient.statistics.cluster")
                await exchange.publish(aio_pika.Message(content), "")
            await until(lambda: read_statistics(tmp_path).pending)
            command = await client.channel.get_exchange("command")
            for content in ({"command": "shutdown", "service": "Other"}, {"command": "x"}, [1]):
                await command.publish(aio_pika.Message(json.dumps(content).encode()), "")
            said = await client.get(statuses.name)
            assert not stop.is_set()
            await command.publish(
                aio_pika.Message(json.dumps({"command": "shutdown", "service": SERVICE_CLASS}).encode()), ""
            )
            await until(stop.is_set)
        status = json.loads(said.body)
        assert status["serviceclass"] == SERVICE_CLASS
        assert status.keys() == {
            *("host", "status", "statustext", "service", "serviceclass", "utilization", "workflows", "zocalo")
        }
        assert said.expiration == 15
        ends = [json.loads((await client.get(statuses.name)).body)["statustext"] for _ in range(2)]
        assert ends[-1] in ("shutting down", "shutdown")
    assert read_statistics(tmp_path).pending["slurm"].value == 7
    get_settings.cache_clear()


async def test_what_others_declared_otherwise_loses_no_message_and_a_virtual_host_that_is_away_keeps_nobody_out(
    tmp_path, rabbitmq, broker, monkeypatch
):
    monkeypatch.setattr(session, "_STOMP_S", 0.2)
    async with connected(broker.url) as client:
        await client.channel.declare_queue(REQUESTS, durable=True, arguments={"x-queue-type": "quorum"})
        await client.channel.declare_exchange("command", "direct", durable=True)
        stomp = f"{broker.vhost}-stomp"
        async with bridge(tmp_path, f"{broker.url}?stomp_vhost={stomp}"):
            await client.send(b"bad")
            await client.send(request("good"))
            letter = await client.get(DEAD_LETTERS)
            assert (letter.body, letter.headers["x-death"][0]["queue"]) == (b"bad", REQUESTS)
            await until(lambda: submitted(tmp_path))
            told = (state := read_state(tmp_path)) and state.warnings
            assert [next(word for word in ("command", REQUESTS, stomp) if word in warning) for warning in told] == [
                "command",
                REQUESTS,
                stomp,
            ]
            with rabbitmq.virtual_host(stomp) as host:
                await until(lambda: (state := read_state(tmp_path)) and len(state.warnings) == 2)
                async with connected(host.url) as stomp_client:
                    await stomp_client.send(request("by-stomp"), "zocalo.processing_recipe")
                    await until(lambda: len(submitted(tmp_path)) == 2)


async def test_stomp_clients_are_heard_in_their_virtual_host(tmp_path, rabbitmq, broker):
    with rabbitmq.virtual_host() as stomp:
        url = f"{broker.url}?stomp_vhost={stomp.vhost}"
        async with bridge(tmp_path, url), connected(stomp.url) as client:
            await client.send(request("by-stomp"), "zocalo.processing_recipe")
            await client.send(b"bad", "zocalo.processing_recipe")
            await until(lambda: submitted(tmp_path))
            await client.until_counted("dlq.zocalo.processing_recipe", 1)
            await client.until_counted("zocalo.processing_recipe", 0)


async def test_a_broker_that_was_away_has_everything_again_and_nothing_is_lost_or_run_twice(
    tmp_path, rabbitmq: DevRabbitMQ
):
    async with bridge(tmp_path, rabbitmq.url):
        async with connected(rabbitmq.url) as client:
            await client.send(request(n=1))
            await until(lambda: len(submitted(tmp_path)) == 1)
        (tmp_path / "away").touch()
        async with connected(rabbitmq.url) as client:
            await client.send(request("job", n=2))
            await until(lambda: (state := read_state(tmp_path)) and state.held == 1)
        await asyncio.to_thread(await_on_disk, rabbitmq.cluster, REQUESTS)
        await asyncio.to_thread(rabbitmq.kill)
        await until(lambda: (state := read_state(tmp_path)) and state.connected_since is None)
        put("xrc.i03", {}, exchange="results", home=tmp_path)
        await asyncio.to_thread(rabbitmq.start)
        await until(lambda: (state := read_state(tmp_path)) and state.connected_since)
        (tmp_path / "away").unlink()
        async with connected(rabbitmq.url) as client:
            await client.channel.get_exchange("results")
            await client.channel.get_exchange("delayed")
            await client.get("xrc.i03")
            await client.send(request(n=3))
            await until(lambda: len(submitted(tmp_path)) == 3)
            await client.until_counted(REQUESTS, 0)
    numbers = [parameters["n"] for _, _, parameters, _ in submitted(tmp_path)]
    assert sorted(numbers) == [1, 2, 3]


async def test_a_queue_that_is_deleted_is_declared_again(tmp_path, broker: Broker):
    async with bridge(tmp_path, broker.url), connected(broker.url) as client:
        await client.channel.queue_delete(REQUESTS)
        async with asyncio.timeout(PATIENCE_S):
            while REQUESTS not in [queue["name"] for queue in broker.ask(f"queues/{broker.vhost}")]:
                await asyncio.sleep(0.2)
        await client.send(request())
        await until(lambda: submitted(tmp_path))
