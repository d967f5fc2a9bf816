"""What the demo collects: a rotation on an Eiger and a grid scan on a Pilatus, or a folder of real images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.simulation.collection import OnImage, find_sweeps, render
from tasks.simulation.grid_scan import GridScan
from tasks.simulation.image_set import ImageSet
from tasks.simulation.plan import CollectionPlan, ImageFormat

# Mimas has rules for both: an Eiger's rotation at its end on i04, a Pilatus's grid scan at its start on i24
ROTATION = CollectionPlan.rotation(images=60, width_deg=0.5, image_format=ImageFormat.NXS, prefix="lysozyme_1")
GRID_SCAN = CollectionPlan.grid_scan(GridScan(steps_x=8, steps_y=6), centre=(4.8, 2.9), prefix="lysozyme_2")


@dataclass(frozen=True)
class PlannedCollection:
    """A data collection of the demo: what, and on which beamline."""

    sweep: ImageSet
    beamline: str


async def synthetic_collections(store: Path, on_image: OnImage | None = None) -> Sequence[PlannedCollection]:
    """Render the demo's two data collections, unless the store has them."""
    return [
        PlannedCollection(await render(ROTATION, store, on_image), "i04"),
        PlannedCollection(await render(GRID_SCAN, store, on_image), "i24"),
    ]


async def real_collections(folder: Path, beamline: str) -> Sequence[PlannedCollection]:
    """Find the sweeps in a folder of real images."""
    return [PlannedCollection(sweep, beamline) for sweep in await find_sweeps(folder)]
