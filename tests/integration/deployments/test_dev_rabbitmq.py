"""deployments/dev-cluster: a broker for anybody, that listens to nobody else and comes back with its messages."""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import aio_pika
import psutil
import pytest
from aio_pika.exceptions import ProbableAuthenticationError

from tests.support.dev_cluster import (
    DEV_CLUSTER,
    DevCluster,
    cluster_until_the_end,
    command_line,
    frozen,
    kill,
)
from tests.support.dev_rabbitmq import Broker, await_on_disk

pytestmark = [pytest.mark.rabbitmq, pytest.mark.slow]

LOOPBACK = {"127.0.0.1", "::1"}
QUORUM = {"x-queue-type": "quorum"}


class RabbitMQCluster(DevCluster):
    """The script, and what can be asked of its broker."""

    @property
    def url(self) -> str:
        return self.exports("rabbitmq")["PLAZA_BROKER_URL"]

    @property
    def server(self) -> int:
        return self.process("rabbitmq")

    @property
    def broker(self) -> Broker:
        return Broker(self.url, self.exports("rabbitmq")["PLAZA_DEV_BROKER_API"])

    def processes(self) -> list[psutil.Process]:
        """The broker's processes, its epmd among them."""
        return [process for process in psutil.process_iter() if home(process) == str(self.folder / "rabbitmq")]

    async def publish(self, text: str) -> None:
        """Have a message wait in the queue `mine`."""
        async with await aio_pika.connect(self.url) as connection:
            channel = await connection.channel()
            await channel.declare_queue("mine", durable=True, arguments=QUORUM)
            message = aio_pika.Message(text.encode(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await channel.default_exchange.publish(message, "mine")

    async def await_messages(self, number: int) -> None:
        """Wait until so many messages are in the queue `mine`: one that has just started knows of none."""
        async with asyncio.timeout(60):
            while await self.waiting() != number:
                await asyncio.sleep(0.05)

    async def waiting(self) -> int:
        """Count the messages in the queue `mine`."""
        async with await aio_pika.connect(self.url) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue("mine", durable=True, arguments=QUORUM)
            return queue.declaration_result.message_count or 0


def home(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return process.environ().get("HOME", "")
    return ""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQCluster]:
    """A broker that the tests stop and kill; each finds it up."""
    folder = tmp_path_factory.mktemp("dev-rabbitmq")
    with cluster_until_the_end(folder, "rabbitmq", "rabbitmq-server"):
        cluster = RabbitMQCluster(folder)
        assert "rabbitmq up" in cluster("up", "rabbitmq")
        yield cluster


def test_up_may_be_said_again(cluster):
    process, url = cluster.server, cluster.url
    assert "rabbitmq up" in cluster("up", "rabbitmq")
    assert (cluster.server, cluster.url) == (process, url)


def test_only_we_can_read_what_lets_us_in(cluster):
    folder = cluster.folder / "rabbitmq"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    secret = {name: folder / name for name in ("password", ".erlang.cookie", "definitions.json")}
    assert {stat.S_IMODE(file.stat().st_mode) & 0o077 for file in secret.values()} == {0}
    assert secret["password"].read_text() in cluster.url
    told = b"".join(command_line(process.pid) for process in cluster.processes())
    assert secret["password"].read_bytes() not in told
    assert secret[".erlang.cookie"].read_bytes() not in told


async def test_others_cannot_come_in(cluster):
    for user in ("plaza:", "plaza:guess", "guest:guest"):
        with pytest.raises(ProbableAuthenticationError):
            await aio_pika.connect(re.sub(r"//.*@", f"//{user}@", cluster.url))


def test_all_of_it_listens_on_the_loopback_address_only(cluster):
    processes = cluster.processes()
    assert any("epmd" in process.name() for process in processes)
    ours = {process.pid for process in processes}
    listening = [
        connection.laddr
        for connection in psutil.net_connections("tcp")
        if connection.pid in ours and connection.status == psutil.CONN_LISTEN
    ]
    assert {address.ip for address in listening} <= LOOPBACK
    # clients, the management, STOMP, distribution and epmd
    assert len({address.port for address in listening}) == 5


def test_user_administrates_both_virtual_hosts(cluster):
    [user] = cluster.broker.ask("users")
    assert (user["name"], user["tags"]) == ("plaza", ["administrator"])
    assert {host["name"] for host in cluster.broker.ask("vhosts")} == {"zocalo", "/"}


def test_frozen_broker_is_not_up(cluster):
    with frozen(cluster.server):
        found = cluster.run("status")
    assert (found.returncode, "doesn't answer" in found.stderr) == (1, True)
    assert "rabbitmq up" in cluster("status")


async def test_killed_broker_comes_back_with_what_it_had_confirmed(cluster):
    await cluster.publish("before the power cut")
    await_on_disk(cluster, "mine")
    kill(cluster.server)
    assert cluster.run("status").returncode == 1
    cluster("up", "rabbitmq")
    await cluster.await_messages(1)


async def test_down_ends_all_of_it_and_keeps_all(cluster):
    await cluster.publish("before the end")
    waiting, url = await cluster.waiting(), cluster.url
    assert "rabbitmq down" in cluster("down", "rabbitmq")
    assert cluster.processes() == []
    assert cluster.run("status").returncode == 1
    cluster("up", "rabbitmq")
    assert cluster.url == url
    await cluster.await_messages(waiting)


@pytest.fixture
def folder_of_nobody() -> Iterator[Callable[[], RabbitMQCluster]]:
    nobody = pwd.getpwnam("nobody")
    if subprocess.run([DEV_CLUSTER, "--help"], user=nobody.pw_uid, capture_output=True).returncode:
        pytest.skip(f"others can't read {DEV_CLUSTER}")
    folder = Path(subprocess.check_output(["mktemp", "--directory"], user=nobody.pw_uid, text=True).strip())
    cluster = RabbitMQCluster(folder, user=nobody.pw_uid, group=nobody.pw_gid)
    yield cluster
    cluster("down", "rabbitmq", "--wipe")
    shutil.rmtree(folder)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_ordinary_user_has_one_beside_ours_of_which_wiping_leaves_nothing(cluster, folder_of_nobody):
    other = folder_of_nobody
    other("up", "rabbitmq")
    assert {process.uids().real for process in other.processes()} == {pwd.getpwnam("nobody").pw_uid}
    assert other.url != cluster.url
    other("down", "rabbitmq", "--wipe")
    assert other.processes() == []
    assert not (other.folder / "rabbitmq").exists()
    assert "rabbitmq up" in cluster("status")


def test_exports_before_the_first_start_say_what_to_do(tmp_path):
    done = RabbitMQCluster(tmp_path).run("env", "rabbitmq")
    assert (done.returncode, "dev-cluster up rabbitmq" in done.stderr) == (2, True)


def test_folder_with_blanks_is_refused(tmp_path):
    done = RabbitMQCluster(tmp_path / "my cluster").run("up", "rabbitmq")
    assert (done.returncode, "without blanks" in done.stderr) == (2, True)


def test_packages_are_installed_without_starting_their_daemons(tmp_path, monkeypatch):
    """A machine's own policy about that stays; where there is none, ours is there for as long as it takes."""
    monkeypatch.syspath_prepend(DEV_CLUSTER.parent)
    from dev_cluster.machine import WITHOUT_DAEMONS

    policy = tmp_path / "policy-rc.d"
    script = WITHOUT_DAEMONS.replace("/usr/sbin/policy-rc.d", str(policy))
    install = ["sh", "-c", script, "sh", "sh", "-c", f"{policy}; echo asked: $?"]
    assert subprocess.check_output(install, text=True) == "asked: 101\n"
    assert not policy.exists()
    policy.write_text("#!/bin/sh\nexit 104\n")
    policy.chmod(0o755)
    assert subprocess.check_output(install, text=True) == "asked: 104\n"
    assert policy.exists()
