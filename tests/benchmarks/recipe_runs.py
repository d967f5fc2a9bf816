"""Whole recipe runs against a bare loop: images/s of per-image analysis of every image, both in one run.

    python -m tests.benchmarks.recipe_runs [--images 2000] [--detector 300k|2m|6m] [--format cbf|nxs] [--rotation]
        [--stand-in MS]

A recipe run counts from its flow's first line to its end: reading ISPyB, watching files, DIALS on Dask, ISPyB rows, GDA
messages, X-ray centring (of a rotation: a preview, and 250 of the images). The bare loop is the same analyser on the
same images in as many plain processes. `--stand-in`: each image takes so many ms of CPU time and no DIALS, so that the
pipeline's own cost shows.

Beside the rates it says what a run costs to begin and to end, and the CPU seconds of each kind of process: on a machine
that is busy with something else, these are what to look at.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from blocks.settings import Settings
from flows.recipe.run_record.entries import Sent
from flows.recipe.run_record.folder import run_folder
from flows.recipe.run_record.journal import read_journal
from tasks.simulation.collection import render
from tasks.simulation.geometry import DetectorSize, Geometry
from tasks.simulation.grid_scan import GridScan
from tasks.simulation.image_set import ImageSet
from tasks.simulation.plan import CollectionPlan, ImageFormat
from tests.benchmarks.bench_site import (
    CORES,
    await_run,
    bench_site,
    load,
    register,
    repeat_images,
    run_seconds,
    start_recipe,
    visit_of,
)
from tests.benchmarks.per_image_analysis import Image, prepare_analyser, run_in_pool
from tests.benchmarks.stand_in import compute, stand_in_cluster

RECIPES = {
    ("grid", "cbf"): "per-image-analysis-gridscan",
    ("grid", "nxs"): "per-image-analysis-gridscan-swmr",
    ("rotation", "cbf"): "per-image-analysis-rotation",
    ("rotation", "nxs"): "per-image-analysis-rotation-swmr",
}
RENDERED = {"300k": 100, "2m": 20, "6m": 10}
"""CBF images that are made; the others are links to them. An NXmx master's are all made."""


@dataclass(frozen=True)
class RunTimes:
    """Seconds of a whole run; from its first line to the first image; from the last image's result to its end."""

    whole: float
    begin: float
    end: float


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200, help="of a rotation at most 250: the recipe chooses as many")
    parser.add_argument("--detector", choices=[size.value for size in DetectorSize], default="2m")
    parser.add_argument("--format", choices=["cbf", "nxs"], default="cbf")
    parser.add_argument("--rotation", action="store_true", help="a rotation instead of a grid scan")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stand-in", type=float, metavar="MS", help="no DIALS: so much CPU time an image")
    parser.add_argument("--store", type=Path, help="where rendered images are kept for another time")
    arguments = parser.parse_args()
    kind = "rotation" if arguments.rotation else "grid"
    recipe = RECIPES[kind, arguments.format]
    with _site(arguments.stand_in) as settings:
        sweep = _make_images(settings, arguments, kind)
        with _bare_loop(_images(sweep), arguments.stand_in) as bare_loop:
            _run_recipe(settings, recipe, sweep)  # warms everything up
            bare, runs, used = [], [], []
            for _ in range(arguments.rounds):
                before = cpu_seconds()
                bare.append(bare_loop())
                runs.append(_run_recipe(settings, recipe, sweep))
                used.append({name: spent - before[name] for name, spent in cpu_seconds().items()})
    ratios = sorted(loop / run.whole for loop, run in zip(bare, runs, strict=True))
    shares = sorted(one["bare loop"] / (sum(one.values()) - one["bare loop"]) for one in used)
    count = arguments.images
    sys.stdout.write(
        f"{recipe}: {count} images, {arguments.detector} {arguments.format}, {CORES} workers, load {load()}\n"
        f"  bare loop   {_list([count / seconds for seconds in bare])} images/s\n"
        f"  recipe run  {_list([count / run.whole for run in runs])} images/s\n"
        f"  recipe run : bare loop, median {ratios[len(ratios) // 2]:.2f} ({_list(ratios)})\n"
        f"  to the first image {_list([run.begin for run in runs])} s, from the last result to the end "
        f"{_list([run.end for run in runs])} s\n"
        f"  CPU seconds, best of each: "
        f"{', '.join(f'{name} {min(one[name] for one in used):.2f}' for name in used[0])}\n"
        f"  by CPU time, bare loop : recipe run, median {shares[len(shares) // 2]:.2f} ({_list(shares)})\n"
    )


@contextmanager
def _site(stand_in_ms: float | None) -> Iterator[Settings]:
    if stand_in_ms is None:
        with bench_site() as settings:
            yield settings
        return
    with (
        TemporaryDirectory(prefix="plaza-stand-in-") as home,
        stand_in_cluster(Path(home), CORES, stand_in_ms) as (scheduler, keys),
        bench_site(dask_scheduler=scheduler, dask_keys=keys) as settings,
    ):
        yield settings


def _make_images(settings: Settings, arguments: argparse.Namespace, kind: str) -> ImageSet:
    folder = visit_of(settings).folder
    image_format, detector = ImageFormat(arguments.format), DetectorSize(arguments.detector)
    geometry = Geometry.of(detector, 0.9795, 120.0 if detector is DetectorSize.K300 else 250.0)
    is_repeated = image_format is ImageFormat.CBF and arguments.images > RENDERED.get(arguments.detector, 10)
    made = RENDERED.get(arguments.detector, 10) if is_repeated else arguments.images
    if kind == "rotation":
        plan = CollectionPlan.rotation(images=made, width_deg=0.2, image_format=image_format, geometry=geometry)
    else:
        # The whole grid is crystal: every image has as many spots as one of a sweep
        plan = CollectionPlan.grid_scan(
            _grid(made), image_format=image_format, geometry=geometry, blob=1000.0, strength=40.0
        )
    sweep = asyncio.run(render(plan, arguments.store or folder))
    if not is_repeated:
        return sweep
    changes = {"grid": _grid(arguments.images)} if kind == "grid" else {}
    target = folder / "repeated" if arguments.store is None else Path(sweep.folder).with_suffix(f".{arguments.images}")
    if target.exists():
        return sweep.model_copy(
            update={"folder": target, "images": arguments.images, "recorded": arguments.images, **changes}
        )
    return repeat_images(sweep, arguments.images, target, **changes)


def _grid(images: int) -> GridScan:
    columns = max(number for number in range(1, int(images**0.5) + 1) if images % number == 0)
    return GridScan(steps_x=images // columns, steps_y=columns)


def _images(sweep: ImageSet) -> list[Image]:
    folder = Path(sweep.folder)
    if sweep.image_format is ImageFormat.NXS:
        return [(str(folder / sweep.template), (number, number)) for number in range(1, sweep.images + 1)]
    return [(str(folder / name), None) for name in sweep.file_names()]


@contextmanager
def _bare_loop(images: Sequence[Image], stand_in_ms: float | None) -> Iterator[Callable[[], float]]:
    """Have what goes through the images in plain processes and returns the seconds that it took."""
    with multiprocessing.get_context("spawn").Pool(CORES, prepare_analyser if stand_in_ms is None else None) as pool:

        def go_through(images: Sequence[Image]) -> None:
            if stand_in_ms is None:
                run_in_pool(pool, images)
            else:
                pool.map(compute, [stand_in_ms / 1000] * len(images), chunksize=4)

        def run() -> float:
            start = time.perf_counter()
            go_through(images)
            return time.perf_counter() - start

        go_through(images[: 8 * CORES])
        yield run


def _run_recipe(settings: Settings, recipe: str, sweep: ImageSet) -> RunTimes:
    dcid = register(settings, sweep)

    async def run() -> RunTimes:
        flow_run = await await_run(await start_recipe(recipe, dcid))
        times = defaultdict(list)
        for entry in read_journal(run_folder(str(flow_run.id), settings.home).journal):
            if isinstance(entry, Sent):
                for sent in entry.sends:
                    if isinstance(sent.payload, dict) and "file" in sent.payload:
                        times["n_spots_total" in sent.payload].append(entry.at)
        first, last = min(times[False]), max(times[True])
        return RunTimes(
            run_seconds(flow_run), first - flow_run.start_time.timestamp(), flow_run.end_time.timestamp() - last
        )

    return asyncio.run(run())


KINDS = {
    "dials_processes.child_main": "DIALS",
    "stand_in cluster": "scheduler",
    "tests.benchmarks.stand_in": "DIALS",
    "api_server.server": "server",
    "postgres": "database",
    "plaza: ": "flow",
    "worker_service": "worker",
    "analysis_cluster": "scheduler",
    "multiprocessing.spawn": "bare loop",
    "dask worker": "Dask workers",
    "Dask Worker": "Dask workers",
}


def cpu_seconds() -> dict[str, float]:
    """Return the CPU seconds so far of each kind of process of the site, with those of their children that ended."""
    spent = dict.fromkeys(KINDS.values(), 0.0)
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            command, times = " ".join(process.cmdline()), process.cpu_times()
            kind = next((kind for part, kind in KINDS.items() if part in command), None)
            if kind is not None:
                spent[kind] += times.user + times.system + times.children_user + times.children_system
    return spent


def _list(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


if __name__ == "__main__":
    main()
