"""From the last image on disk to the X-ray centring result on disk and in ISPyB: a 5 × 4 grid, images at 10 Hz.

python -m tests.benchmarks.centring_latency [--scans 5] [--format cbf]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
from pathlib import Path

from blocks.settings import Settings
from blocks.site_ispyb import connect
from tasks.simulation.collection import render
from tasks.simulation.grid_scan import GridScan
from tasks.simulation.image_set import ImageSet
from tasks.simulation.plan import CollectionPlan
from tasks.simulation.visit import Visit
from tests.benchmarks.bench_site import bench_site, load, now

POLL_S = 0.01


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=int, default=5)
    scans = parser.parse_args().scans
    with bench_site() as settings:
        plan = CollectionPlan.grid_scan(GridScan(steps_x=5, steps_y=4))
        sweep = asyncio.run(render(plan, settings.home / "simulated"))
        asyncio.run(_scan(settings, sweep))  # warms everything up
        times = [asyncio.run(_scan(settings, sweep)) for _ in range(scans)]
    for where, seconds in (("on disk", [disk for disk, _ in times]), ("in ISPyB", [row for _, row in times])):
        sys.stdout.write(
            f"{where}: median {statistics.median(seconds):.2f} s, worst {max(seconds):.2f} s of {scans} scans\n"
        )
    sys.stdout.write(f"load {load()}\n")


async def _scan(settings: Settings, sweep: ImageSet) -> tuple[float, float]:
    """Let a grid scan happen; return seconds from its last image to the file and to the row."""
    from flows.demo.simulated_beamline import collect_all
    from flows.events.telling_mimas import tell_mimas

    visit = Visit.simulated("i24", settings.home / "data")
    waiting: list[asyncio.Task[float]] = []

    def begin(_: object, dcid: int, folder: Path) -> None:
        known = set(visit.folder.glob("processed/**/Dials5AResults.json"))
        waiting.append(asyncio.create_task(_await_file(visit.folder, known)))
        waiting.append(asyncio.create_task(asyncio.to_thread(_await_row, settings, dcid)))

    collections = collect_all([sweep], visit, settings, tell_mimas, rate_hz=10, on_begin=begin)
    [record] = [record async for record in collections]
    async with asyncio.timeout(60):
        on_disk, in_ispyb = await asyncio.gather(*waiting)
    return on_disk - record.last_image_at, in_ispyb - record.last_image_at


async def _await_file(visit: Path, known: set[Path]) -> float:
    while True:
        for path in visit.glob("processed/**/Dials5AResults.json"):
            if path not in known:
                return path.stat().st_mtime
        await asyncio.sleep(POLL_S)


def _await_row(settings: Settings, dcid: int) -> float:
    import time

    from tasks.ispyb_access.overviews.results import read_written_rows

    engine = connect(settings)
    deadline = now() + 60
    while now() < deadline:
        if read_written_rows(engine, dcid).centrings:
            return now()
        time.sleep(POLL_S)
    raise TimeoutError(f"no centring result for data collection {dcid} in ISPyB")


if __name__ == "__main__":
    main()
