import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.diffraction.dials_processes.child_pool import ChildPool
from tasks.simulation.collection import render
from tasks.simulation.grid_scan import GridScan
from tasks.simulation.plan import CollectionPlan, ImageFormat

IMAGES = 6


@dataclass(frozen=True)
class Pictures:
    """Rendered data collections of six 300K images each."""

    rotation_cbfs: tuple[str, ...]
    rotation_master: str
    grid_cbfs: tuple[str, ...]
    grid_master: str


def _render(plan, store):
    return asyncio.run(render(plan, store))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    store = tmp_path_factory.mktemp("pictures")
    files = {}
    for image_format in ImageFormat:
        for kind, plan in (
            ("rotation", CollectionPlan.rotation(IMAGES, 0.5, image_format=image_format)),
            ("grid", CollectionPlan.grid_scan(GridScan(steps_x=3, steps_y=2), image_format=image_format)),
        ):
            sweep = _render(plan, store)
            if image_format is ImageFormat.CBF:
                files[f"{kind}_cbfs"] = tuple(str(Path(sweep.folder) / name) for name in sweep.file_names())
            else:
                files[f"{kind}_master"] = str(Path(sweep.folder) / sweep.template)
    return Pictures(**files)


@pytest.fixture(scope="module")
def pool():
    """DIALS processes: reader and writer of one HDF5 file must not be one process."""
    pool = ChildPool()
    yield pool
    pool.close()
