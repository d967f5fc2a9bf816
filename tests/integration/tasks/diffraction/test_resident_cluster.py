"""The resident Dask cluster, in processes of its own, as `plaza up` runs it."""

import asyncio
import os
import signal
import socket
import subprocess
import time

import psutil
import pytest

from blocks.analysis_cluster import AnalysisClusterUnavailable, connect
from blocks.cluster_keys import keys_folder, make_keys
from flows.resources import SiteResources
from tasks.per_image_analysis import analyse_images
from tasks.step import Message, StepContext
from tasks.step.runner import run_step, try_step
from tests.support.resident_cluster import (
    cluster_command,
    cluster_on,
    cluster_settings,
    dials_processes,
    free_port,
    wait_until,
)

pytestmark = [pytest.mark.dials, pytest.mark.slow]


@pytest.fixture
def port():
    return free_port()


def _payloads(pictures, count):
    return [
        {"file": pictures.rotation_master, "file-number": n, "parameters": {"scan_range": f"{n % 6 + 1},{n % 6 + 1}"}}
        for n in range(count)
    ]


async def test_images_are_analysed_and_all_processes_end_with_the_cluster(pictures, port, tmp_path):
    with cluster_on(tmp_path, port, workers=2) as process:
        async with SiteResources(cluster_settings(tmp_path, port)) as resources:
            outcome = await try_step(analyse_images, {}, _payloads(pictures, 12), resources)
        assert len(outcome.sent) == 12
        wait_until(lambda: len(dials_processes(process)) == 2)  # one worker may have done all before the other came
        family = process.children(recursive=True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=120) == 0
    assert psutil.wait_procs(family, timeout=60)[1] == []


async def test_killed_cluster_takes_its_workers_and_dials_along(port, tmp_path):
    with cluster_on(tmp_path, port, workers=2) as process:
        wait_until(lambda: len(dials_processes(process)) == 2)
        family = process.children(recursive=True)
        process.kill()
        assert psutil.wait_procs(family, timeout=60)[1] == []


async def test_killed_worker_costs_no_image(pictures, port, tmp_path):
    with cluster_on(tmp_path, port, workers=2) as process:
        wait_until(lambda: len(dials_processes(process)) == 2)
        victim = dials_processes(process)[0].parent()
        async with SiteResources(cluster_settings(tmp_path, port)) as resources:
            numbers = await _analyse(resources, _payloads(pictures, 60), after_first=victim.kill)
    assert sorted(numbers) == list(range(60))


async def test_cluster_that_is_started_anew_costs_no_image(pictures, port, tmp_path):
    with cluster_on(tmp_path, port, workers=2) as first:
        async with SiteResources(cluster_settings(tmp_path, port)) as resources:
            replaced = asyncio.Event()

            def replace():
                first.kill()
                replaced.set()

            work = asyncio.create_task(_analyse(resources, _payloads(pictures, 60), after_first=replace))
            await replaced.wait()
            await asyncio.to_thread(first.wait)
            with cluster_on(tmp_path, port, workers=2):
                assert sorted(await work) == list(range(60))


async def _analyse(resources, payloads, after_first):
    """Analyse images, and do something after the first result; return the images' numbers."""
    refused = []
    context = StepContext({}, "run", resources, refuse=lambda message, error: refused.append(error))

    async def inbox():
        for payload in payloads:
            yield Message(payload)

    numbers = []
    async for send in run_step(analyse_images, inbox(), context):
        if not numbers:
            after_first()
        numbers.append(send.payload["file-number"])
    assert refused == []
    return numbers


async def test_absent_scheduler_is_said_within_ten_seconds(port, tmp_path):
    make_keys(keys_folder(tmp_path))
    start = time.monotonic()
    with pytest.raises(
        AnalysisClusterUnavailable, match=f"no Dask scheduler answers at tls://127.0.0.1:{port}.*plaza up"
    ):
        async with connect(cluster_settings(tmp_path, port)):
            pass
    assert time.monotonic() - start < 10


def test_taken_port_is_said(port, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        environment = os.environ | {"PLAZA_HOME": str(tmp_path)}
        result = subprocess.run(
            cluster_command(port, 1), env=environment, capture_output=True, text=True, timeout=60, check=False
        )
    assert result.returncode == 1
    assert f"can't listen on 127.0.0.1:{port}" in result.stderr
    assert "Traceback" not in result.stderr
