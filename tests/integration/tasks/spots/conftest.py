import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.simulation.collection import render
from tasks.simulation.plan import CollectionPlan, ImageFormat

IMAGES = 4


@dataclass(frozen=True)
class Pictures:
    """A rendered rotation of 300K images, as CBF files and as a master with a data file."""

    cbfs: tuple[str, ...]
    master: str

    @property
    def cbf_folder(self):
        return Path(self.cbfs[0]).parent

    @property
    def master_folder(self):
        return Path(self.master).parent


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    store = tmp_path_factory.mktemp("pictures")
    cbf, nxs = (
        asyncio.run(render(CollectionPlan.rotation(IMAGES, 0.5, image_format=image_format), store))
        for image_format in (ImageFormat.CBF, ImageFormat.NXS)
    )
    return Pictures(
        tuple(str(Path(cbf.folder) / name) for name in cbf.file_names()), str(Path(nxs.folder) / nxs.template)
    )
