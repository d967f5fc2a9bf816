"""What per-image analysis costs beside DIALS: a bare loop, the step on a Dask cluster, and `work()`, in one run.

    python -m tests.benchmarks.per_image_analysis [--images 200] [--detector 300k|2m|6m] [--format cbf|nxs] [--json]

All three use as many processes as there are cores, on the same images in the same order, after a warm-up.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from blocks.settings import Settings
from flows.resources import SiteResources
from tasks.diffraction.requests import AnalysisParameters, SpotFindingOptions
from tasks.per_image_analysis import analyse_images
from tasks.simulation.collection import render
from tasks.simulation.geometry import DetectorSize, Geometry
from tasks.simulation.plan import CollectionPlan, ImageFormat
from tasks.step import Message, StepContext
from tasks.step.resources import Resources
from tasks.step.runner import run_step
from tests.benchmarks.spots_ways import prepare_work

Image = tuple[str, tuple[int, int] | None]

CORES = len(os.sched_getaffinity(0))
RENDERED = 40
"""Images that are made; they are gone through again and again."""

_analyse: Callable[[Image], Any]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--detector", choices=[size.value for size in DetectorSize], default="300k")
    parser.add_argument("--format", choices=[kind.value for kind in ImageFormat], default="cbf")
    parser.add_argument("--rounds", type=int, default=2, help="times that each is measured, in turn; the best counts")
    parser.add_argument("--scheduler", help="address of a Dask scheduler; without: a cluster within this process")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with TemporaryDirectory(prefix="plaza-benchmark-") as folder:
        images = make_images(Path(folder), arguments.detector, arguments.format, arguments.images)
        report = measure(images, arguments.rounds, arguments.scheduler) | {
            "detector": arguments.detector,
            "format": arguments.format,
        }
    sys.stdout.write(json.dumps(report) + "\n" if arguments.json else describe(report))


def make_images(folder: Path, detector: str, image_format: str, count: int) -> list[Image]:
    """Render images of a rotation and return them, repeated, as file and image range."""
    rendered = min(count, RENDERED if detector == "300k" else 8)
    plan = CollectionPlan.rotation(
        images=rendered,
        width_deg=0.5,
        image_format=ImageFormat(image_format),
        geometry=Geometry.of(DetectorSize(detector), 0.9795, 120.0 if detector == "300k" else 200.0),
    )
    sweep = asyncio.run(render(plan, folder))
    place = Path(sweep.folder)
    if image_format == "nxs":
        master = str(place / plan.template)
        one_by_one: list[Image] = [(master, (number, number)) for number in range(1, rendered + 1)]
    else:
        one_by_one = [(str(place / name), None) for name in sweep.file_names()]
    return [one_by_one[index % rendered] for index in range(count)]


def measure(images: Sequence[Image], rounds: int, scheduler: str | None) -> dict[str, Any]:
    """Return images/s of each way (the best round: other programs only ever slow one down), and CPU time of each image.

    CPU time is what to look at on a machine that is busy with something else. It is that of this process and its
    children: of all that takes part, unless the Dask cluster is elsewhere.
    """
    rates: dict[str, float] = dict.fromkeys(("bare loop", "step on Dask", "work()"), 0.0)
    cpu_ms = dict.fromkeys(rates, float("inf"))
    spawn = multiprocessing.get_context("spawn")
    loop = asyncio.new_event_loop()
    resources = SiteResources(Settings(dask_scheduler=scheduler))
    with spawn.Pool(CORES, prepare_analyser) as bare, spawn.Pool(CORES, _prepare_work) as work:
        ways: dict[str, Callable[[Sequence[Image]], None]] = {
            "bare loop": lambda images: run_in_pool(bare, images),
            "step on Dask": lambda images: loop.run_until_complete(_run_step(resources, images)),
            "work()": lambda images: run_in_pool(work, images),
        }
        try:
            for run in ways.values():
                run(images[: 8 * CORES])
            for _ in range(rounds):
                for name, run in ways.items():
                    start, cpu_start = time.perf_counter(), _cpu_seconds()
                    run(images)
                    rates[name] = max(rates[name], len(images) / (time.perf_counter() - start))
                    cpu_ms[name] = min(cpu_ms[name], 1000 * (_cpu_seconds() - cpu_start) / len(images))
        finally:
            loop.run_until_complete(resources.__aexit__())
            loop.close()
    return {
        "images": len(images),
        "processes": CORES,
        "images_per_s": {name: round(rate, 2) for name, rate in rates.items()},
        "cpu_ms_per_image": {name: round(used, 1) for name, used in cpu_ms.items()},
        "step_to_bare_loop": round(rates["step on Dask"] / rates["bare loop"], 3),
        "step_to_work": round(rates["step on Dask"] / rates["work()"], 3),
        "load": [round(load, 1) for load in psutil.getloadavg()],
    }


def _cpu_seconds() -> float:
    this = psutil.Process()
    times = [process.cpu_times() for process in (this, *this.children(recursive=True))]
    return sum(used.user + used.system for used in times)


def run_in_pool(pool: Any, images: Sequence[Image]) -> None:
    for _ in pool.imap_unordered(_run, images, chunksize=4):
        pass


async def _run_step(resources: Resources, images: Sequence[Image]) -> None:
    refused: list[Exception] = []
    context = StepContext({"parameters": {}}, "benchmark", resources, refuse=lambda _, error: refused.append(error))
    count = 0
    async for _ in run_step(analyse_images, _inbox(images), context):
        count += 1
    assert count == len(images), refused


async def _inbox(images: Sequence[Image]) -> AsyncIterator[Message]:
    for number, (file, scan_range) in enumerate(images, 1):
        own = {"parameters": {"scan_range": "{},{}".format(*scan_range)}} if scan_range else {}
        yield Message({"file": file, "file-number": number, "file-seen-at": time.time(), **own}, {"ID": "benchmark"})


def _run(image: Image) -> Any:
    return _analyse(image)


def prepare_analyser() -> None:
    global _analyse
    from tasks.diffraction.analyser import Analyser

    analyser = Analyser(AnalysisParameters().options)
    _analyse = lambda image: analyser.analyse(*image)  # noqa: E731


def _prepare_work() -> None:
    global _analyse
    work = prepare_work(SpotFindingOptions().threshold_algorithm)
    _analyse = lambda image: work(*image)  # noqa: E731


def describe(report: dict[str, Any]) -> str:
    """Write a report for people."""
    lines = [f"{report['images']} images, {report['detector']} {report['format']}, {report['processes']} processes"]
    for name, rate in report["images_per_s"].items():
        lines.append(f"  {name:<14}{rate:8.2f} images/s{report['cpu_ms_per_image'][name]:8.1f} ms CPU an image")
    lines += [
        f"  step : bare loop  {report['step_to_bare_loop']:.2f}",
        f"  step : work()     {report['step_to_work']:.2f}",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
