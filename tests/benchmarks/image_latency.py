"""From an image on disk to its row in ISPyB: CBF images of a grid scan that come one by one, a second apart.

    python -m tests.benchmarks.image_latency [--detector 300k|2m|6m] [--images 12] [--gap 1.0]

The recipe runs already, as it does a moment after a scan has started; each image appears whole, as detectors' software
renames it into place.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from pathlib import Path

from blocks.settings import Settings
from blocks.site_ispyb import connect
from tasks.simulation.collection import render
from tasks.simulation.geometry import DetectorSize, Geometry
from tasks.simulation.grid_scan import GridScan
from tasks.simulation.image_set import ImageSet
from tasks.simulation.plan import CollectionPlan
from tests.benchmarks.bench_site import await_run, bench_site, load, register, start_recipe, visit_of

POLL_S = 0.002


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", choices=[size.value for size in DetectorSize], default="6m")
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--gap", type=float, default=1.0, help="seconds between images")
    arguments = parser.parse_args()
    with bench_site() as settings:
        grid = GridScan(steps_x=arguments.images, steps_y=1)
        geometry = Geometry.of(DetectorSize(arguments.detector), 0.9795, 250.0)
        plan = CollectionPlan.grid_scan(grid, geometry=geometry, blob=1000.0, strength=40.0)
        sweep = asyncio.run(render(plan, settings.home / "rendered"))
        seconds = asyncio.run(_run(settings, sweep, arguments.gap))
    # The first meets processes that have seen no image yet
    sys.stdout.write(
        f"{arguments.images} images, {arguments.detector}, one each {arguments.gap} s: from the file to the row in "
        f"ISPyB median {statistics.median(seconds[1:]):.3f} s, worst {max(seconds[1:]):.3f} s, "
        f"the first {seconds[0]:.3f} s; load {load()}\n"
    )


async def _run(settings: Settings, sweep: ImageSet, gap_s: float) -> list[float]:
    """Let the images come while the recipe runs; return the seconds of each."""
    folder = visit_of(settings).folder / "arriving"
    folder.mkdir(parents=True)
    arriving = sweep.model_copy(update={"folder": folder})
    dcid = register(settings, arriving)
    running = asyncio.create_task(await_run(await start_recipe("per-image-analysis-gridscan", dcid)))
    await asyncio.sleep(3.0)  # the recipe begins
    seconds = []
    for number, name in enumerate(sweep.file_names(), 1):
        (folder / name).hardlink_to(Path(sweep.folder) / name)
        at = time.time()
        seconds.append(await asyncio.to_thread(_await_row, settings, dcid, number) - at)
        await asyncio.sleep(max(0.0, gap_s - seconds[-1]))
    await running
    return seconds


def _await_row(settings: Settings, dcid: int, number: int) -> float:
    from tasks.ispyb_access.overviews.results import read_written_rows

    engine = connect(settings)
    deadline = time.time() + 120
    while time.time() < deadline:
        if number in read_written_rows(engine, dcid).image_quality.image_number:
            engine.dispose()
            return time.time()
        time.sleep(POLL_S)
    raise TimeoutError(f"no row of image {number} of data collection {dcid} in ISPyB")


if __name__ == "__main__":
    main()
