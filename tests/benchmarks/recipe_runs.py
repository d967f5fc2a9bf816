"""Whole recipe runs against a bare loop: images/s of `per-image-analysis-rotation`, both in one run.

    python -m tests.benchmarks.recipe_runs [--images 200] [--detector 300k|2m] [--format cbf|nxs]

A recipe run counts from its flow's first line to its end: reading ISPyB, watching files, a preview, DIALS on Dask,
ISPyB rows and GDA messages. The bare loop is the same analyser on the same images in as many plain processes.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import sys
import time
from pathlib import Path

from tasks.simulation.collection import render
from tasks.simulation.geometry import DetectorSize, Geometry
from tasks.simulation.image_set import ImageSet
from tasks.simulation.plan import CollectionPlan, ImageFormat
from tests.benchmarks.bench_site import (
    CORES,
    await_run,
    bench_site,
    load,
    register,
    run_seconds,
    start_recipe,
    visit_of,
)
from tests.benchmarks.per_image_analysis import prepare_analyser, run_in_pool

RECIPES = {"cbf": "per-image-analysis-rotation", "nxs": "per-image-analysis-rotation-swmr"}


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200, help="at most 250: the recipe chooses as many")
    parser.add_argument("--detector", choices=[size.value for size in DetectorSize], default="2m")
    parser.add_argument("--format", choices=list(RECIPES), default="cbf")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with bench_site() as settings:
        plan = CollectionPlan.rotation(
            images=arguments.images,
            width_deg=0.2,
            image_format=ImageFormat(arguments.format),
            geometry=Geometry.of(
                DetectorSize(arguments.detector), 0.9795, 120.0 if arguments.detector == "300k" else 250.0
            ),
            resolution_a=1.9,
        )
        sweep = asyncio.run(render(plan, visit_of(settings).folder))
        bare, recipe = [], []
        with multiprocessing.get_context("spawn").Pool(CORES, prepare_analyser) as pool:
            run_in_pool(pool, _images(sweep)[: 8 * CORES])
            asyncio.run(_run_recipe(arguments.format, register(settings, sweep)))  # warms everything up
            for _ in range(arguments.rounds):
                start = time.perf_counter()
                run_in_pool(pool, _images(sweep))
                bare.append(arguments.images / (time.perf_counter() - start))
                seconds = asyncio.run(_run_recipe(arguments.format, register(settings, sweep)))
                recipe.append(arguments.images / seconds)
    ratios = sorted(run / loop for run, loop in zip(recipe, bare, strict=True))
    sys.stdout.write(
        f"{arguments.images} images, {arguments.detector} {arguments.format}, {CORES} workers, load {load()}\n"
        f"  bare loop   {_list(bare)} images/s\n"
        f"  recipe run  {_list(recipe)} images/s\n"
        f"  recipe run : bare loop, median {ratios[len(ratios) // 2]:.2f} ({_list(ratios)})\n"
    )


def _images(sweep: ImageSet) -> list[tuple[str, tuple[int, int] | None]]:
    folder = Path(sweep.folder)
    if sweep.image_format is ImageFormat.NXS:
        return [(str(folder / sweep.template), (number, number)) for number in range(1, sweep.images + 1)]
    return [(str(folder / name), None) for name in sweep.file_names()]


async def _run_recipe(image_format: str, dcid: int) -> float:
    return run_seconds(await await_run(await start_recipe(RECIPES[image_format], dcid)))


def _list(values: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


if __name__ == "__main__":
    main()
