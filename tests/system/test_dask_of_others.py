"""What other users of the machine get of the site's Dask cluster: nothing."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from distributed import Scheduler
from distributed.core import connect as connect_to_node

from blocks.analysis_cluster import AnalysisClusterUnavailable, connect, connect_locally
from blocks.cluster_keys import make_keys, security
from tests.support.resident_cluster import cluster_on, cluster_settings, free_port, wait_until

pytestmark = pytest.mark.slow

NOBODY = 65534
# Asks each node what it is, with and without TLS, with keys of one's own: prints what was answered.
STRANGER = """
import asyncio, json, sys
from pathlib import Path
from blocks.cluster_keys import make_keys, security
from blocks.errors import ConfigurationError
from distributed.core import connect

async def ask(address, keys):
    comm = await connect(address, timeout=2, **keys.get_connection_args("client"))
    await comm.write({"op": "identity", "reply": True})
    return await asyncio.wait_for(comm.read(), 2)

async def main(own, theirs, *ports):
    make_keys(Path(own))
    answers = []
    for port in ports:
        for scheme, keys in (("tcp", None), ("tls", own), ("tls", theirs)):
            try:
                answers.append(repr(await ask(f"{scheme}://127.0.0.1:{port}", security(keys and Path(keys)))))
            except (OSError, asyncio.TimeoutError, ConfigurationError):
                continue
    print(json.dumps(answers))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def cluster():
    """Settings of a cluster's users, and its process; in a folder where others may look around."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        home, port = Path(folder) / "home", free_port()
        with cluster_on(home, port) as process:
            wait_until(lambda: len(listening(process)) == 3)  # scheduler, nanny, worker
            yield cluster_settings(home, port), process


def listening(process: psutil.Process) -> list[int]:
    """The ports on which a process and its descendants listen."""
    pids = {each.pid for each in (process, *process.children(recursive=True))}
    return [
        each.laddr.port
        for each in psutil.net_connections("inet")
        if each.status == psutil.CONN_LISTEN and each.pid in pids
    ]


async def identity(address: str, keys: Path) -> str:
    comm = await connect_to_node(address, timeout=5, **security(keys).get_connection_args("client"))
    try:
        await comm.write({"op": "identity", "reply": True})
        return (await comm.read())["type"]
    finally:
        await comm.close()


async def test_users_of_the_site_reach_all_of_it(cluster):
    settings, process = cluster
    found = {await identity(f"tls://127.0.0.1:{port}", settings.dask_keys) for port in listening(process)}
    assert found == {"ClusterScheduler", "Nanny", "ClusterWorker"}
    async with connect(settings) as client:
        assert await client.submit(os.getpid) in {child.pid for child in process.children(recursive=True)}


def answers(process: psutil.Process, theirs: Path, user: int | None = None) -> list[str]:
    """What the nodes answer to another process: in clear, with keys of its own, and with those in `theirs`."""
    another = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    with tempfile.TemporaryDirectory() as own:
        Path(own).chmod(0o777)
        done = subprocess.run(
            [sys.executable, "-c", STRANGER, f"{own}/keys", str(theirs), *map(str, listening(process))],
            env=os.environ | {"HOME": own},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            **another,
        )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_only_the_keys_open_any_node(cluster):
    settings, process = cluster
    assert len(answers(process, settings.dask_keys)) == 3


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_other_users_cannot_use_the_keys(cluster):
    settings, process = cluster
    assert answers(process, settings.dask_keys, NOBODY) == []


def test_nothing_is_told_by_http(cluster):
    _, process = cluster
    for port in listening(process):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as knock:
            knock.sendall(b"GET /info/main/workers.html HTTP/1.0\r\n\r\n")
            try:
                assert knock.recv(100)[:4] != b"HTTP"
            except ConnectionError:
                continue


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_other_users_may_write_none_of_the_nodes_folders(cluster):
    settings, process = cluster
    writable = ["find", str(settings.home), "-writable", "-not", "-type", "l"]
    done = subprocess.run(
        writable, user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, text=True, check=False
    )
    assert done.stdout == ""
    folders = {Path(file.path) for each in (process, *process.children(recursive=True)) for file in each.open_files()}
    assert not [path for path in folders if "dask-scratch-space" in path.parts and settings.home not in path.parents]


async def test_whoever_says_nothing_or_nonsense_holds_nobody_up(cluster):
    settings, process = cluster
    with ExitStack() as stack:
        for port in listening(process):
            for number in range(50):
                knock = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
                if number % 2:
                    knock.sendall(b"\x16\x03\x01\xff\xff" + os.urandom(100))  # begins like TLS
        began = time.monotonic()
        async with connect(settings) as client:
            assert await client.submit(abs, -2) == 2
        assert time.monotonic() - began < 5


async def test_scheduler_with_other_keys_is_not_believed(cluster, tmp_path):
    """Another user may listen on the port of a site that is down."""
    make_keys(tmp_path / "other")
    settings = cluster[0]
    async with Scheduler(
        host="127.0.0.1", port=0, protocol="tls://", security=security(tmp_path / "other"), dashboard=False
    ) as impostor:
        with pytest.raises(AnalysisClusterUnavailable, match="certificate"):
            async with connect(settings.model_copy(update={"dask_scheduler": impostor.address})):
                pass


async def test_cluster_within_the_process_opens_no_port_and_no_folder_of_all(tmp_path):
    this = psutil.Process()
    before = set(listening(this))
    async with connect_locally(tmp_path, workers=1) as client:
        assert set(listening(this)) == before
        assert await client.submit(abs, -2) == 2
        [worker] = client.cluster.workers.values()
        assert Path(worker.local_directory).is_relative_to(tmp_path)
