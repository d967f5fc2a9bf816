"""A RabbitMQ of the tests' own, run by deployments/dev-cluster: started by the first test that asks for a broker."""

from __future__ import annotations

import itertools
import json
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from tests.support.dev_cluster import DevCluster, cluster_until_the_end, frozen, kill

__all__ = ["broker", "rabbitmq"]

LEADERS = "rabbitmq/data/*/quorum/*/names.dets"


class Broker:
    """A virtual host of a broker that runs, as clients see it.

    Attributes
    ----------
    url
        Where clients go: amqp://USER:PASSWORD@HOST:PORT/VHOST.
    api
        Where the broker's management is asked.
    vhost
        The virtual host's name.
    """

    def __init__(self, url: str, api: str) -> None:
        self.url, self.api = url, api
        self.vhost = urlsplit(url).path[1:]
        self._direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(self, path: str, method: str = "GET", body: Any = None) -> Any:
        """Ask the management: `queues/{self.vhost}`, say. What it counts may be five seconds old."""
        address = urlsplit(self.url)
        credentials = b64encode(f"{address.username}:{address.password}".encode()).decode()
        headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.api}/{path}", data, headers, method=method)
        with self._direct.open(request, timeout=30) as answer:
            content = answer.read()
        return json.loads(content) if content else None


class DevRabbitMQ(Broker):
    """A broker that can be stopped, killed, frozen and started again; itself the virtual host `zocalo`."""

    def __init__(self, cluster: DevCluster) -> None:
        self.cluster = cluster
        self.start()
        exports = cluster.exports("rabbitmq")
        self.stomp_port = int(exports["PLAZA_DEV_BROKER_STOMP_PORT"])
        self._numbers = itertools.count(1)
        super().__init__(exports["PLAZA_BROKER_URL"], exports["PLAZA_DEV_BROKER_API"])

    def start(self) -> None:
        """Start it, if it doesn't run, on the files and the ports that it had."""
        self.cluster("up", "rabbitmq")

    def stop(self) -> None:
        """Stop it as an administrator does."""
        self.cluster("down", "rabbitmq")

    def kill(self) -> None:
        """End it as a power cut would: see also `await_on_disk`."""
        kill(self.cluster.process("rabbitmq"))

    def frozen(self) -> AbstractContextManager[None]:
        """Have it hang."""
        return frozen(self.cluster.process("rabbitmq"))

    @contextmanager
    def virtual_host(self, name: str | None = None) -> Iterator[Broker]:
        """Make an empty virtual host, in which tests don't see what others left, for a while."""
        name = name or f"test-{next(self._numbers)}"
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        self.ask(f"vhosts/{name}", "PUT")
        self.ask(f"permissions/{name}/{quote(str(urlsplit(self.url).username))}", "PUT", everything)
        try:
            yield Broker(self.url.removesuffix(self.vhost) + name, self.api)
        finally:
            self.ask(f"vhosts/{name}", "DELETE")


def await_on_disk(cluster: DevCluster, queue: str) -> None:
    """Wait until a quorum queue survives its broker's death: one declared in the last second never has a leader again.

    RabbitMQ confirms the declaration and messages before it has written down, in a table of its own, that it leads it.
    """
    deadline = time.monotonic() + 60
    while not any(queue.encode() in table.read_bytes() for table in cluster.folder.glob(LEADERS)):
        assert time.monotonic() < deadline, f"RabbitMQ hasn't written down the queue {queue} within a minute"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevRabbitMQ]:
    """Run RabbitMQ: whoever stops it starts it again."""
    with cluster_until_the_end(tmp_path_factory.mktemp("rabbitmq"), "rabbitmq", "rabbitmq-server") as cluster:
        yield DevRabbitMQ(cluster)


@pytest.fixture
def broker(rabbitmq: DevRabbitMQ) -> Iterator[Broker]:
    """A virtual host of the test's own."""
    with rabbitmq.virtual_host() as host:
        yield host
