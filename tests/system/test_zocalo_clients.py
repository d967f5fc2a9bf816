"""Zocalo's own programs and a beamline's own devices, unchanged, in front of a site with a bridge."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import aio_pika
import pytest
import yaml
from ispyb import sqlalchemy as models
from sqlalchemy.orm import Session

from blocks.site_ispyb import connect
from tests.support.checkout import CHECKOUT
from tests.support.commanded_site import await_
from tests.support.dev_mariadb import DevMariaDB, dev_mariadb
from tests.support.dev_rabbitmq import DevRabbitMQ, await_on_disk
from tests.support.zocalo_clients import ACCEPTANCE, client_python
from tests.support.zocalo_site import (
    CRYSTAL,
    DCGID,
    DCID,
    I04_DCGID,
    I04_DCID,
    JOB,
    OTHER_DCID,
    ZocaloSite,
    zocalo_site,
)

pytestmark = [pytest.mark.rabbitmq, pytest.mark.mariadb, pytest.mark.slow]

REQUESTS, DEAD_LETTERS = "processing_recipe", "dlq.processing_recipe"
GUIDE = CHECKOUT / "docs" / "how-to" / "zocalo-clients.md"


@pytest.fixture(scope="module")
def ispyb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevMariaDB]:
    with dev_mariadb(tmp_path_factory.mktemp("ispyb")) as server:
        yield server


@pytest.fixture(scope="module")
def site(rabbitmq: DevRabbitMQ, ispyb: DevMariaDB, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZocaloSite]:
    client_python("zocalo")
    url = ispyb.make_database("ispyb")
    with zocalo_site(tmp_path_factory.mktemp("zocalo-site"), rabbitmq, url) as site:
        yield site


@pytest.fixture
def guid() -> str:
    """A recipe ID of the test's own."""
    return f"test-{uuid4().hex[:12]}"


async def publish(url: str, *requests: dict[str, Any]) -> None:
    """Send requests as SynchWeb does: without headers and properties; but wait until the broker has them."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        for request in requests:
            await channel.default_exchange.publish(aio_pika.Message(json.dumps(request).encode()), REQUESTS)


async def count(url: str, queue: str) -> int:
    """Count what is ready in a queue, now: the management's counts lag."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        found = await channel.declare_queue(queue, passive=True)
        return found.declaration_result.message_count or 0


def test_recipe_runs_by_the_guid_that_go_was_given(site, guid):
    site.clients.go("-r", "example", "-s", f"guid={guid}", DCID)
    [run] = site.await_runs(guid)
    shown = await_(lambda: (done := site.plaza("show", guid, "--json")).returncode == 0 and done.stdout)
    assert run["id"] in shown


def test_mimas_is_told_and_a_job_runs_its_recipe(site, guid):
    site.clients.go("-r", "mimas", "-s", "event=end", "-s", f"guid={guid}", DCID)
    site.clients.go("-p", "-s", f"guid={guid}-job", JOB)
    [mimas], [job] = site.await_runs(guid), site.await_runs(f"{guid}-job")
    assert mimas["name"] == f"mimas end · dcid {DCID}"
    assert job["parameters"]["parameters"]["ispyb_process"] == JOB


async def test_synchwebs_message_runs_a_job(site, guid):
    await publish(site.broker.url, {"parameters": {"ispyb_process": JOB, "guid": guid}})
    assert len(site.await_runs(guid)) == 1


def test_beamlines_trigger_tells_mimas_of_each_grid(site):
    trigger = site.clients.start(
        "from dodal.devices.zocalo import ZocaloStartInfo, ZocaloTrigger\n"
        "zocalo = ZocaloTrigger()\n"
        f"zocalo.run_start(ZocaloStartInfo({OTHER_DCID}, None, 20, 15, 1))\n"
        f"zocalo.run_end({OTHER_DCID})\n"
    )
    _, said = trigger.communicate(timeout=120)
    assert trigger.returncode == 0, said
    runs = await_(lambda: len(found := site.runs_of_collection(OTHER_DCID, "mimas")) == 2 and found)
    told = {run["parameters"]["event"]: run["parameters"].get("parameters") for run in runs}
    assert told["start"] == {
        "filename": None,
        "start_frame_index": 20,
        "number_of_frames": 15,
        "message_index": 1,
    }
    assert not told["end"]


WAIT_FOR_RESULTS = """
import asyncio, json, sys
from dodal.devices.zocalo import ZocaloResults, ZocaloSource

async def main():
    device = ZocaloResults("zocalo", channel=sys.argv[1], timeout_s=60, results_source=ZocaloSource[sys.argv[2]])
    await device.connect(mock=False)
    await device.stage()
    print("READY", flush=True)
    await device.trigger()
    values = {name.removeprefix("zocalo-"): reading["value"] for name, reading in (await device.read()).items()}
    await device.unstage()
    print(json.dumps({name: getattr(value, "tolist", lambda: value)() for name, value in values.items()}))

asyncio.run(main())
"""


def test_beamlines_devices_receive_their_crystals(site):
    """Each takes the first result on its queue: of a GPU on i03, of a CPU on i04, where nothing was found."""
    devices = {
        beamline: site.clients.start(WAIT_FOR_RESULTS, f"xrc.{beamline}", source)
        for beamline, source in (("i03", "GPU"), ("i04", "CPU"))
    }
    for device in devices.values():
        assert device.stdout is not None
        assert device.stdout.readline() == "READY\n", device.communicate()[1]
    site.clients.go("-r", "centre-on-gpu", "-s", f"dcgid={DCGID}", DCID)
    site.clients.go("-r", "centre-nothing", "-s", f"dcgid={I04_DCGID}", I04_DCID)
    received = {}
    for beamline, device in devices.items():
        output, said = device.communicate(timeout=120)
        assert device.returncode == 0, said
        received[beamline] = json.loads(output)
    assert received["i03"]["centre_of_mass"] == [CRYSTAL["centre_of_mass"]]
    assert received["i03"]["bounding_box"] == [CRYSTAL["bounding_box"]]
    assert (received["i03"]["ispyb_dcid"], received["i03"]["ispyb_dcgid"]) == (DCID, DCGID)
    assert received["i04"]["centre_of_mass"] == []
    assert received["i04"]["ispyb_dcid"] == I04_DCID


def test_what_stomp_clients_put_runs_too(site, rabbitmq, guid):
    go_by_stomp(site, rabbitmq, guid)
    assert len(site.await_runs(guid)) == 1


def go_by_stomp(site: ZocaloSite, rabbitmq: DevRabbitMQ, guid: str) -> None:
    where = ["--stomp-host", "127.0.0.1", "--stomp-port", rabbitmq.stomp_port, "--stomp-prfx", "zocalo"]
    who = ["--stomp-user", site.clients.username, "--stomp-pass", site.clients.password]
    site.clients.go("-t", "StompTransport", *where, *who, "-r", "example", "-s", f"guid={guid}", DCID)


async def test_bridge_that_is_killed_loses_nothing_and_starts_nothing_twice(site, guid):
    names = [f"{guid}-{number}" for number in range(12)]
    before = await count(site.broker.url, DEAD_LETTERS)
    await publish(
        site.broker.url,
        *({"recipes": ["example"], "parameters": {"ispyb_dcid": DCID, "guid": name}} for name in names),
    )
    site.await_runs(names[0])
    killed = site.kill_bridge()
    site.await_bridge(after=killed)
    assert [len(site.await_runs(name)) for name in names] == [1] * len(names)
    assert await count(site.broker.url, DEAD_LETTERS) == before


async def test_request_waits_for_a_database_that_is_away(site, ispyb, guid):
    """The broker keeps it, and doesn't count it as tried so often that it would be a dead letter."""
    before = await count(site.broker.url, DEAD_LETTERS)
    ispyb.kill()
    try:
        site.clients.go("-p", "-s", f"guid={guid}", JOB)
        await_(lambda: site.bridge().held == 1)
    finally:
        ispyb.start()
    assert len(site.await_runs(guid)) == 1
    assert await count(site.broker.url, DEAD_LETTERS) == before


def test_bridge_ends_when_zocalo_says_so_and_comes_back(site):
    process = site.await_bridge()
    site.clients("zocalo.shutdown", "-s", "PlazaBridge")
    assert site.await_bridge(after=process) != process


def test_dead_letter_is_found_kept_and_sent_again(site, guid):
    """A job that isn't there yet is refused; once it's there, the same message starts it."""
    late = JOB + int(guid[-6:], 16)
    site.clients.go("-p", "-s", f"guid={guid}", late)
    await_(lambda: site.clients.run("zocalo.dlq_check").returncode == 1)
    # the purge takes what is there; earlier ones may be others'
    await_(lambda: site.clients("zocalo.dlq_purge", "--wait", 1, REQUESTS) and kept(site.clients.purged, guid))
    [file] = kept(site.clients.purged, guid)
    engine = connect(site.settings)
    with Session(engine) as session:
        session.add(models.ProcessingJob(processingJobId=late, dataCollectionId=DCID, recipe="example"))
        session.commit()
    engine.dispose()
    site.clients("zocalo.dlq_reinject", file)
    assert len(site.await_runs(guid)) == 1


def kept(folder: Path, guid: str) -> list[Path]:
    return [file for file in folder.rglob("msg-*") if guid in file.read_text()]


def test_zocalos_configuration_as_documented_leaves_the_bridge_alone(site, rabbitmq, guid, tmp_path):
    documented = [text for text in re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.S) if "groups" in text]
    file = tmp_path / "rabbitmq.yml"
    file.write_text(documented[0])
    assert "processing_recipe" in json.dumps(yaml.safe_load(documented[0]))
    before = objects(site)
    site.clients("zocalo.configure_rabbitmq", file)
    assert objects(site) == before
    again = site.clients("zocalo.configure_rabbitmq", file)
    assert not re.search(r"(?i)(creating|deleting|removing|updating) .*(vhost='zocalo'|\('zocalo')", again), again
    site.clients.go("-r", "example", "-s", f"guid={guid}", DCID)
    assert len(site.await_runs(guid)) == 1
    # it can't know the queue that the broker made for STOMP, and removes it: the bridge makes another
    await_(lambda: is_there(site, "queues/%2F/zocalo.processing_recipe"))
    go_by_stomp(site, rabbitmq, f"{guid}-stomp")
    assert len(site.await_runs(f"{guid}-stomp")) == 1


def objects(site: ZocaloSite) -> dict[str, list[Any]]:
    """Return what Zocalo's virtual host holds, but for what ends with its connection."""
    vhost = site.broker.vhost
    queues = [queue for queue in site.broker.ask(f"queues/{vhost}") if not queue["exclusive"]]
    names = {queue["name"] for queue in queues}
    bindings = [each for each in site.broker.ask(f"bindings/{vhost}") if each["destination"] in names]
    return {
        "queues": sorted((each["name"], json.dumps(each["arguments"], sort_keys=True)) for each in queues),
        "exchanges": sorted(
            (each["name"], each["type"], each["durable"]) for each in site.broker.ask(f"exchanges/{vhost}")
        ),
        "bindings": sorted((each["source"], each["destination"], each["routing_key"]) for each in bindings),
    }


def test_site_outlives_its_broker_and_what_was_dropped_meanwhile_is_sent(site, rabbitmq, guid):
    """Exchanges that are transient at Diamond are gone after it, and clients would fail without them."""
    for queue in (REQUESTS, DEAD_LETTERS):
        await_on_disk(rabbitmq.cluster, queue)
    rabbitmq.kill()
    site.clients.go("-r", "example", "-s", f"guid={guid}", DCID)
    assert len(list(site.clients.dropped.iterdir())) == 1
    rabbitmq.start()
    await_(lambda: all(is_there(site, f"exchanges/{site.broker.vhost}/{name}") for name in ("results", "delayed")))
    site.clients("zocalo.pickup", "-w", 0, "-d", 0)
    assert len(site.await_runs(guid)) == 1


def is_there(site: ZocaloSite, path: str) -> bool:
    try:
        return bool(site.broker.ask(path))
    except urllib.error.HTTPError:
        return False


@pytest.mark.skipif(not ACCEPTANCE.exists(), reason=f"there is no {ACCEPTANCE}")
def test_whole_acceptance_by_unmodified_clients(site, tmp_path):
    """Each request's run is looked up by its recipe ID; results are published by the bridge, of a recipe's step."""
    go = site.clients.python.with_name("zocalo.go")
    command = [
        site.clients.python, ACCEPTANCE, "--amqp", site.broker.url, "--api", site.broker.api,
        "--mx-python", client_python("dodal"), "--timeout", "60", "--hook", shlex.quote(str(site.hook(tmp_path))),
        "--result-cmd", f"{shlex.quote(str(go))} -r centre-on-cpu -s dcgid=$ACCEPT_DCGID $ACCEPT_DCID",
    ]  # fmt: skip
    done = subprocess.run(
        list(map(str, command)), env=site.clients.environment, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASS") >= 22
