"""Zocalo's way beside Plaza's: a grid scan's images analysed by both, in turn, in the same minutes.

    python -m tests.benchmarks.zocalo_way [--detector 2m] [--images 200] [--rounds 2] [--json]

Zocalo's way is what its per-image services do, and no more: as many processes as cores, warm, each of which takes an
image at a time from a queue and calls DIALS's `work()`. Its watching of files, message broker, ISPyB, GDA and centring
aren't in it, so its figures are better than a beamline sees.

Plaza's is the whole of a run of `per-image-analysis-gridscan` on a warm site on this machine: from the request for a
run on, through Prefect's server, its database, the worker, the watcher, DIALS on Dask, rows in ISPyB (SQLite), GDA's
datagrams and X-ray centring. An image's result counts when GDA hears of it, and again when its row is there.

CPU seconds are those of all processes that take part, servers included; memory is what they share counted once (PSS).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psutil
from sqlalchemy import Engine, func, select

from blocks.identifiers import Dcid
from blocks.settings import Settings
from blocks.site_ispyb import connect
from flows.demo.gda import ControlComputer, listen
from flows.site.processes import site_processes
from tasks.ispyb_access.overviews.results import QUALITY, read_written_rows
from tasks.simulation.collection import render
from tasks.simulation.geometry import DetectorSize, Geometry
from tasks.simulation.grid_scan import GridScan
from tasks.simulation.image_set import ImageSet
from tasks.simulation.plan import CollectionPlan
from tests.benchmarks.bench_site import (
    CORES,
    await_run,
    bench_site,
    load,
    register,
    repeat_images,
    start_recipe,
    visit_of,
)
from tests.benchmarks.spots_ways import prepare_work

RECIPE = "per-image-analysis-gridscan"
COLUMNS, RENDERED_ROWS = 8, 5
WARM_UP = 8  # images each process is given before it counts
POLL_S = 0.02
MEMORY_EVERY_S = 0.5

Figures = dict[str, float]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", choices=[size.value for size in DetectorSize], default="2m")
    parser.add_argument("--images", type=int, default=200, help=f"a multiple of {COLUMNS}")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    loop = asyncio.new_event_loop()
    transport, computer = loop.run_until_complete(listen())
    zocalo: list[Figures] = []
    plaza: list[Figures] = []
    with (
        contextlib.closing(transport),
        bench_site(gda_host="127.0.0.1", gda_port=computer.port) as settings,
        ZocaloServices(CORES) as services,
    ):
        sweep = make_scan(settings, arguments.detector, arguments.images)
        files = [str(sweep.folder / name) for name in sweep.file_names()]
        services.analyse(files[: WARM_UP * CORES])
        loop.run_until_complete(run_plaza(settings, sweep, computer))
        for _ in range(arguments.rounds):
            zocalo.append(services.analyse(files))
            plaza.append(loop.run_until_complete(run_plaza(settings, sweep, computer)))
    loop.close()
    report = {
        "detector": arguments.detector,
        "images": arguments.images,
        "processes": CORES,
        "zocalo": _median(zocalo),
        "plaza": _median(plaza),
        "rounds": {"zocalo": zocalo, "plaza": plaza},
        "load": load(),
    }
    sys.stdout.write(json.dumps(report) + "\n" if arguments.json else describe(report))


def make_scan(settings: Settings, detector: str, images: int) -> ImageSet:
    """Render a small grid scan, and make a larger one of its images."""
    rows, rest = divmod(images, COLUMNS)
    if rest or not rows:
        raise SystemExit(f"--images: expected a multiple of {COLUMNS}")
    distance_mm = 120.0 if detector == "300k" else 250.0
    plan = CollectionPlan.grid_scan(
        GridScan(steps_x=COLUMNS, steps_y=min(rows, RENDERED_ROWS)),
        geometry=Geometry.of(DetectorSize(detector), 0.9795, distance_mm),
    )
    sweep = asyncio.run(render(plan, settings.home / "rendered"))
    folder = visit_of(settings).folder / "scan"
    return repeat_images(sweep, images, folder, grid=GridScan(steps_x=COLUMNS, steps_y=rows))


class ZocaloServices:
    """Processes that each take an image from a queue, call `work()`, and put what it says into another."""

    def __init__(self, count: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._images = spawn.Queue()
        self._results = spawn.Queue()
        self._processes = [
            spawn.Process(target=_serve, args=(self._images, self._results), daemon=True) for _ in range(count)
        ]

    def __enter__(self) -> ZocaloServices:
        for process in self._processes:
            process.start()
        return self

    def __exit__(self, *_: object) -> None:
        for _process in self._processes:
            self._images.put(None)
        for process in self._processes:
            process.join(10)

    def analyse(self, files: Sequence[str]) -> Figures:
        """Have images analysed; return when results came (s), CPU seconds and memory (MB)."""
        processes = [psutil.Process(process.pid) for process in self._processes]
        with watched_memory(lambda: processes) as peak:
            before, start = cpu_seconds(processes), time.perf_counter()
            for file in files:
                self._images.put(file)
            times = []
            for _ in files:
                self._results.get()
                times.append(time.perf_counter() - start)
            used = cpu_seconds(processes) - before
        return {
            "images_per_s": len(files) / times[-1],
            "first_s": times[0],
            "last_s": times[-1],
            "cpu_s": used,
            "memory_mb": peak(),
        }


def _serve(images: Any, results: Any) -> None:
    analyse = prepare_work("dispersion")
    while (file := images.get()) is not None:
        results.put(analyse(file, None))


async def run_plaza(settings: Settings, sweep: ImageSet, computer: ControlComputer) -> Figures:
    """Have a grid scan analysed by a recipe run; return when results came (s), CPU seconds and memory (MB)."""
    dcid = Dcid(register(settings, sweep))
    engine = connect(settings)
    try:
        with watched_memory(lambda: site_processes(settings.home)) as peak:
            processes = site_processes(settings.home)
            before, began, start = cpu_seconds(processes), time.time(), time.perf_counter()
            run_id = await start_recipe(RECIPE, dcid)
            first_row, last_row, centred = await asyncio.to_thread(_await_rows, engine, dcid, sweep.images, start)
            await await_run(run_id)  # its end belongs to it
            used = cpu_seconds(site_processes(settings.home)) - before
        rows = read_written_rows(engine, dcid)
        assert len(rows.image_quality.image_number) == sweep.images, "each image has its row"
    finally:
        engine.dispose()
    told = sorted(at - began for (known, _), at in computer.received.items() if known == dcid)
    assert len(told) == sweep.images, f"GDA was told of {len(told)} images of {sweep.images}"
    return {
        "images_per_s": sweep.images / max(told[-1], last_row),
        "first_s": told[0],
        "last_s": told[-1],
        "first_row_s": first_row,
        "last_row_s": last_row,
        "centred_s": centred,
        "cpu_s": used,
        "memory_mb": peak(),
    }


def _await_rows(engine: Engine, dcid: int, images: int, start: float) -> tuple[float, float, float]:
    """Return when the first and the last image's row were there, and the centring's."""
    collection = QUALITY.c.dataCollectionId == dcid
    first = last = centred = 0.0
    deadline = start + 600
    while not (last and centred) and time.perf_counter() < deadline:
        with engine.connect() as connection:
            rows = connection.execute(select(func.count()).select_from(QUALITY).where(collection)).scalar_one()
            is_centred = last and read_written_rows(engine, dcid).centrings
        now = time.perf_counter() - start
        first = first or (now if rows else 0.0)
        last = last or (now if rows >= images else 0.0)
        centred = now if is_centred else 0.0
        time.sleep(POLL_S)
    if not centred:
        raise TimeoutError(f"{rows} of {images} rows, and no centring, in ISPyB after 600 s")
    return first, last, centred


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    """Sum up what processes have computed, with their children that have ended."""
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            total += sum(process.cpu_times()[:4])
    return total


@contextlib.contextmanager
def watched_memory(processes: Callable[[], Sequence[psutil.Process]]) -> Iterator[Callable[[], float]]:
    """Look at processes' memory from time to time; what is yielded returns the largest sum (MB)."""
    largest = 0.0
    is_over = threading.Event()

    def watch() -> None:
        nonlocal largest
        while True:
            largest = max(largest, sum(map(_pss_mb, processes())))
            if is_over.wait(MEMORY_EVERY_S):
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: largest
    finally:
        is_over.set()
        thread.join()


def _pss_mb(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().pss) / 2**20
    except psutil.Error:  # it has ended
        return 0.0


def _median(rounds: Sequence[Figures]) -> Figures:
    return {name: round(statistics.median(figures[name] for figures in rounds), 2) for name in rounds[0]}


def describe(report: dict[str, Any]) -> str:
    """Write a report for people."""
    zocalo, plaza = report["zocalo"], report["plaza"]
    lines = [
        f"{report['images']} images of a grid scan, {report['detector']} CBF, {report['processes']} processes, "
        f"medians of {len(report['rounds']['plaza'])} rounds in turn, load {report['load']}",
        f"{'':<34}{'work()':>10}{'Plaza':>10}",
    ]
    for words, name in (
        ("images/s", "images_per_s"),
        ("first result, s", "first_s"),
        ("last result, s", "last_s"),
        ("first row in ISPyB, s", "first_row_s"),
        ("last row in ISPyB, s", "last_row_s"),
        ("centring in ISPyB, s", "centred_s"),
        ("CPU seconds", "cpu_s"),
        ("memory, MB", "memory_mb"),
    ):
        ours, theirs = plaza[name], f"{zocalo[name]:.2f}" if name in zocalo else "–"
        lines.append(f"{words:<34}{theirs:>10}{ours:>10.2f}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
