"""What Dask workers and their DIALS processes log, in the log of the recipe run that they work for."""

import asyncio
import shutil
import socket
import time
from contextlib import contextmanager
from pathlib import Path

import h5py
import psutil
import pytest

from blocks.settings import Settings
from flows.recipe.run_record.log import read_log
from flows.resources import SiteResources
from tasks.logs.run_log import run_log
from tasks.per_image_analysis import analyse_images
from tasks.step.identity import StepIdentity, acting_for
from tasks.step.runner import try_step
from tests.support.resident_cluster import cluster_on, cluster_settings, dials_processes, free_port

pytestmark = [pytest.mark.dials, pytest.mark.slow]

JERKY = "One or more recorded oscillation widths differ from the median by 10% or more"


@pytest.fixture(scope="module")
def jerky_master(pictures, tmp_path_factory):
    """A sweep whose goniometer stood still for an image: dxtbx warns of it."""
    folder = tmp_path_factory.mktemp("jerky") / "sweep"
    shutil.copytree(Path(pictures.rotation_master).parent, folder)
    master = folder / Path(pictures.rotation_master).name
    with h5py.File(master, "r+") as file:
        [omega] = [group for group in _axes(file) if group.name.endswith("/omega")][:1]
        angles = omega[()]
        angles[3] = angles[2]
        omega[...] = angles
    return str(master)


def _axes(file):
    found = []
    file.visititems(lambda name, item: found.append(item) if isinstance(item, h5py.Dataset) else None)
    return found


@contextmanager
def cluster_of_one(home):
    """A scheduler and a worker in processes of their own."""
    port = free_port()
    with cluster_on(home, port) as process:
        yield cluster_settings(home, port), process


def identity(run, node=2):
    return StepIdentity(run, "per-image-analysis", 7, node, "analyse_images")


def frames(master, *numbers):
    return [{"file": master, "file-number": n, "parameters": {"scan_range": f"{n},{n}"}} for n in numbers]


async def analyse(folder, run, payloads, resources):
    """Analyse images on behalf of a run, and return its log."""
    file = folder / run / "log.jsonl"
    with run_log(file, identity(run, None)), acting_for(identity(run)):
        outcome = await try_step(analyse_images, {"parameters": {}}, payloads, resources, run)
    assert outcome.refused == []
    return read_log(file)


async def _until(condition, limit_s=120):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, condition
        await asyncio.sleep(0.05)


def _dials_pids(process):
    return {child.pid for child in dials_processes(process)}


async def test_warnings_of_dials_reach_the_log_of_their_run_and_no_other(pictures, jerky_master, tmp_path):
    with cluster_of_one(tmp_path) as (settings, process):
        await _until(lambda: _dials_pids(process))
        dials = _dials_pids(process)
        async with SiteResources(settings) as resources:
            jerky, smooth = await asyncio.gather(
                analyse(tmp_path, "jerky", frames(jerky_master, 1, 2), resources),
                analyse(tmp_path, "smooth", frames(pictures.rotation_master, 1, 2, 3), resources),
            )
    assert smooth == []
    warned = [line for line in jerky if JERKY in line.message]
    assert warned
    for line in warned:
        assert line.message.startswith(f"DIALS at {jerky_master}, images ")
        assert (line.level, line.logger, line.identity) == ("WARNING", "dxtbx.nexus", identity("jerky"))
        assert line.pid in dials
        assert line.host == socket.gethostname()


async def test_cluster_within_the_process_logs_each_line_once(jerky_master, tmp_path):
    async with SiteResources(Settings(home=tmp_path, dask_scheduler=None, analysis_workers=1)) as resources:
        lines = await analyse(tmp_path, "here", frames(jerky_master, 1), resources)
    [line] = [line for line in lines if JERKY in line.message]
    assert line.identity == identity("here")


async def test_killed_dials_process_is_in_the_log(pictures, tmp_path):
    with cluster_of_one(tmp_path) as (settings, process):
        await _until(lambda: _dials_pids(process))
        async with SiteResources(settings) as resources:
            await analyse(tmp_path, "first", frames(pictures.rotation_master, 1), resources)  # until it's ready
            [victim] = map(psutil.Process, _dials_pids(process))
            victim.suspend()
            work = asyncio.create_task(analyse(tmp_path, "killed", frames(pictures.rotation_master, 1), resources))
            client = await resources.analysis_client()
            while not await _has_begun(client):
                await asyncio.sleep(0.01)
            victim.kill()
            lines = await work
    [death] = [line for line in lines if "The DIALS process died" in line.message]
    assert "it was ended by SIGKILL" in death.message
    assert pictures.rotation_master in death.message
    assert death.pid not in (process.pid, victim.pid)
    assert death.identity == identity("killed")


async def _has_begun(client):
    """Whether a worker's thread waits for its DIALS process."""
    stacks = (await client.call_stack(keys=None)).values()
    return any(
        "in _receive" in frame or "poll" in frame for stack in stacks for frames in stack.values() for frame in frames
    )
