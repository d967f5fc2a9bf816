"""Whatever the layout of a master, its images are DIALS's own, and none is read of which data are absent."""

import shutil

import h5py
import hdf5plugin
import numpy as np
import pytest

from blocks.errors import PlazaError
from tasks.diffraction.requests import AnalysisParameters, ImageRequest
from tests.support.asking_dials import ask_dials

pytestmark = pytest.mark.dials

IMAGES = 6
LIBVER = ("v110", "v110")
TOP = 300
"""Rows of the upper module."""


@pytest.fixture(scope="module")
def rendered(pictures):
    with h5py.File(pictures.rotation_master, "r", locking=False) as file:
        return file["entry/data/data"][:]


@pytest.fixture
def master(pictures, tmp_path):
    """A master without images."""
    path = tmp_path / "scan.nxs"
    shutil.copy(pictures.rotation_master, path)
    with h5py.File(path, "r+") as file:
        del file["entry/data"]
    return path


def write_data(path, images, stored=IMAGES, chunks=None, **options):
    chunks = chunks or (1, *images.shape[1:])
    with h5py.File(path, "w", libver=LIBVER) as file:
        data = file.create_dataset("data", images.shape, images.dtype, chunks=chunks, **options)
        data[:stored] = images[:stored]


def map_images(master, size, shape, *mappings, dtype="u2"):
    """Write the virtual dataset of a master, of mappings (images, file name, shape of the source, frames)."""
    layout = h5py.VirtualLayout((size, *shape), dtype)
    for images, name, source_shape, frames in mappings:
        layout[images] = h5py.VirtualSource(name, "data", source_shape, dtype)[frames]
    with h5py.File(master, "r+") as file:
        data = file.create_group("entry/data")
        data.create_virtual_dataset("data", layout, fillvalue=0)
        data.attrs.update({"NX_class": np.bytes_("NXdata"), "signal": np.bytes_("data")})


def link_data(master, name="data.h5"):
    with h5py.File(master, "r+") as file:
        file["entry/data/data"] = h5py.ExternalLink(name, "data")
        file["entry/data"].attrs.update({"NX_class": np.bytes_("NXdata"), "signal": np.bytes_("data")})


def in_halves(master, images):
    folder, shape = master.parent, images.shape[1:]
    for number in (0, 1):
        write_data(folder / f"half_{number}.h5", images[3 * number : 3 * number + 3], **hdf5plugin.Bitshuffle())
    halves = [(slice(3 * n, 3 * n + 3), f"half_{n}.h5", (3, *shape), slice(0, 3)) for n in (0, 1)]
    map_images(master, IMAGES, shape, *halves)


def modules(master, images, size=IMAGES, stored=IMAGES):
    """Two modules, one above the other, in a file each."""
    upper, lower = images[:size, :TOP], images[:size, TOP:]
    write_data(master.parent / "upper.h5", upper)
    write_data(master.parent / "lower.h5", lower, stored)
    every = slice(0, size)
    map_images(
        *(master, size, images.shape[1:]),
        ((every, slice(0, TOP)), "upper.h5", upper.shape, every),
        ((every, slice(TOP, None)), "lower.h5", lower.shape, every),
    )


def panels(master, images):
    """A detector of two panels."""
    in_halves(master, images)
    with h5py.File(master, "r+") as file:
        detector = file["entry/instrument/detector"]
        file.copy(detector["module"], detector, "second")
        detector["module/data_size"][:] = TOP, images.shape[2]
        detector["second/data_size"][:] = images.shape[1] - TOP, images.shape[2]
        detector["second/data_origin"][:] = TOP, 0


def one_image_files(master, images):
    for number, image in enumerate(images):
        with h5py.File(master.parent / f"image_{number}.h5", "w") as file:
            file["data"] = image
    mappings = [(number, f"image_{number}.h5", image.shape, slice(None)) for number, image in enumerate(images)]
    map_images(master, IMAGES, images.shape[1:], *mappings)


def numbered_files(master, images):
    """Files without end."""
    shape, endless = images.shape[1:], h5py.h5s.UNLIMITED
    for number in (0, 1):
        write_data(master.parent / f"block_{number}.h5", images[3 * number : 3 * number + 3])
    space = h5py.h5s.create_simple(images.shape, (endless, *shape))
    blocks = space.copy()
    blocks.select_hyperslab((0, 0, 0), (endless, 1, 1), (3, 1, 1), (3, *shape))
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_virtual(blocks, b"block_%b.h5", b"data", h5py.h5s.create_simple((3, *shape)))
    with h5py.File(master, "r+") as file:
        data = file.create_group("entry/data")
        h5py.h5d.create(file.id, b"entry/data/data", h5py.h5t.NATIVE_UINT16, space, properties)
        data.attrs.update({"NX_class": np.bytes_("NXdata"), "signal": np.bytes_("data")})


def tiles(master, images):
    """An image in several chunks, of which image 3 has the first only."""
    write_data(master.parent / "data.h5", images, 2, (1, 100, 200))
    with h5py.File(master.parent / "data.h5", "r+") as file:
        file["data"][2, :100, :200] = images[2, :100, :200]
    link_data(master)


def several_in_a_chunk(master, images):
    write_data(master.parent / "data.h5", images, chunks=(4, *images.shape[1:]), compression="gzip")
    link_data(master)


def in_the_master(master, images):
    with h5py.File(master, "r+") as file:
        file["entry/data/data"] = images.astype(">i4")
        file["entry/data"].attrs.update({"NX_class": np.bytes_("NXdata"), "signal": np.bytes_("data")})


def without_a_signal(master, images):
    """Of several datasets dxtbx takes the first."""
    in_halves(master, images[::-1])
    with h5py.File(master, "r+") as file:
        del file["entry/data"].attrs["signal"]
        file["entry/data/counts"] = images


def floats(master, images):
    images = images.astype("f4") + 0.25
    write_data(master.parent / "data.h5", images)
    map_images(master, IMAGES, images.shape[1:], (slice(0, 6), "data.h5", images.shape, slice(0, 6)), dtype="f4")


def without_file(name, make, master, images):
    make(master, images)
    (master.parent / name).unlink()


LAYOUTS = {
    "in halves": (in_halves, ()),
    "modules": (modules, ()),
    "panels": (panels, ()),
    "one image a file": (one_image_files, ()),
    "numbered files": (numbered_files, ()),
    "tiles": (tiles, (3, 4, 5, 6)),
    "several in a chunk": (several_in_a_chunk, ()),
    "in the master": (in_the_master, ()),
    "without a signal": (without_a_signal, ()),
    "floats": (floats, ()),
    "a half is missing": (lambda *scan: without_file("half_1.h5", in_halves, *scan), (4, 5, 6)),
    "a module is missing": (lambda *scan: without_file("lower.h5", modules, *scan), (1, 2, 3, 4, 5, 6)),
    "a module is late": (lambda master, images: modules(master, images, stored=3), (4, 5, 6)),
    "modules of fewer images": (lambda master, images: modules(master, images, size=4), (5, 6)),
    "an image is missing": (lambda *scan: without_file("image_3.h5", one_image_files, *scan), (4,)),
    "a numbered file is missing": (lambda *scan: without_file("block_1.h5", numbered_files, *scan), (4, 5, 6)),
}


BY_DIALS = {"floats": "its counts are no integers, but of type float32"} | dict.fromkeys(
    (
        "modules",
        "one image a file",
        "a module is late",
        "modules of fewer images",
        "an image is missing",
    ),
    "HDF5 puts its images together",
)
"""Layouts whose images Plaza's own way leaves to DIALS."""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_images_are_those_of_dials_and_absent_ones_are_refused(layout, master, rendered):
    from tasks.diffraction.analyser import Analyser
    from tasks.diffraction.image_files.data_sets import DataSets

    make, absent = LAYOUTS[layout]
    make(master, rendered)
    data_sets = DataSets()
    analyser = Analyser(AnalysisParameters().options, data_sets)
    for number in (1, 3, 4, 6):
        if number in absent:
            with pytest.raises(PlazaError, match=r"missing|not been written|has no image 6|waits for"):
                analyser.analyse(str(master), (number, number))
        else:
            analysis = analyser.examine(ImageRequest(str(master), analyser.options, (number, number)))
            assert analysis.by_dials == BY_DIALS.get(layout)
            ours = analysis.statistics.as_payload()
            data_sets.forget(str(master))  # a process that has a virtual dataset and a data file open may read anything
            assert ours == ask_dials(master, (number, number))
            assert ours["n_spots_total"] > 50
