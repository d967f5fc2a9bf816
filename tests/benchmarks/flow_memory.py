"""Memory of the process of a recipe run as images go through it: a grid scan of 3,600 images.

python -m tests.benchmarks.flow_memory [--grid 60x60]
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from blocks.settings import Settings
from tasks.simulation.collection import render
from tasks.simulation.grid_scan import GridScan
from tasks.simulation.image_set import ImageSet
from tasks.simulation.plan import CollectionPlan
from tests.benchmarks.bench_site import (
    await_run,
    bench_site,
    flow_processes,
    load,
    register,
    repeat_images,
    start_recipe,
    visit_of,
)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", default="60x60")
    columns, rows = map(int, parser.parse_args().grid.split("x"))
    with bench_site() as settings:
        small = asyncio.run(
            render(CollectionPlan.grid_scan(GridScan(steps_x=5, steps_y=4)), settings.home / "simulated")
        )
        grid = GridScan(steps_x=columns, steps_y=rows)
        sweep = repeat_images(small, grid.size, visit_of(settings).folder / "grid", grid=grid)
        samples = asyncio.run(_sample(settings, sweep))
    for share in (0.1, 0.25, 0.5, 0.75, 1.0):
        images, megabytes = samples[min(len(samples) - 1, int(share * len(samples)))]
        sys.stdout.write(f"after {images:5} images: {megabytes:.1f} MiB\n")
    sys.stdout.write(f"load {load()}\n")


async def _sample(settings: Settings, sweep: ImageSet) -> list[tuple[int, float]]:
    """Run the recipe; return images done and unique memory (MiB) of its process, twice a second."""
    from blocks.site_ispyb import connect
    from tasks.ispyb_access.overviews.results import read_written_rows

    dcid = register(settings, sweep)
    engine = connect(settings)
    running = asyncio.create_task(await_run(await start_recipe("per-image-analysis-gridscan", dcid)))
    samples: list[tuple[int, float]] = []
    while not running.done():
        await asyncio.wait([running], timeout=0.5)
        for process in flow_processes("per-image-analysis-gridscan"):
            memory = process.memory_full_info().uss / 2**20
            done = await asyncio.to_thread(read_written_rows, engine, dcid)
            samples.append((len(done.image_quality.image_number), memory))
    await running
    return samples


if __name__ == "__main__":
    main()
