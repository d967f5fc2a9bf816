"""What HDF5 takes for zeros by a fault is no image."""

from contextlib import closing

import h5py
import numpy as np
import pytest

from tasks.nexus.images import MasterImages
from tests.support.masters import SHAPE, write_frames, write_virtual

pytestmark = pytest.mark.dials

IMAGE = np.arange(6.0).reshape(SHAPE)


class FailingFormat:
    """A format of dxtbx's, which reads zeros at first, `faults` times, and keeps its file open."""

    def __init__(self, master, faults, image):
        self._cached_file_handle = None
        self.handles = []
        self._master, self._faults, self._image = master, faults, image

    def get_raw_data(self, index):
        from dxtbx import flumpy

        if self._cached_file_handle is None:
            self._cached_file_handle = h5py.File(self._master, "r")
            self.handles.append(self._cached_file_handle)
        self._faults -= 1
        return (flumpy.from_numpy(np.zeros(SHAPE) if self._faults >= 0 else self._image),)


@pytest.fixture
def images(tmp_path):
    """Two images, of which the first is stored."""
    write_frames(tmp_path / "scan_1.h5", 1, 2, stored=1)
    write_virtual(tmp_path / "scan.nxs", 2, [(slice(0, 2), "scan_1.h5", "data", 2, slice(0, 2))])
    with closing(MasterImages.of(f"{tmp_path}/scan.nxs")) as images:
        yield images


@pytest.mark.parametrize("image", [IMAGE, np.where(IMAGE > 3, np.nan, IMAGE), IMAGE.astype(np.int32)])
def test_an_image_that_is_the_same_twice_is_taken(image, images):
    from dxtbx import flumpy

    from tasks.diffraction.image_files.hdf5_frames import TwiceReader

    failing = FailingFormat(images.layout.master, 0, image)
    (panel,) = TwiceReader(images, failing, 2).read(0)
    assert np.array_equal(flumpy.to_numpy(panel), image, equal_nan=True)
    assert len(failing.handles) == 2
    assert not any(failing.handles), "none is open"


def test_an_image_that_is_zeros_once_is_not_taken(images):
    from tasks.diffraction.image_files.hdf5_frames import FrameMissing, TwiceReader

    reader = TwiceReader(images, FailingFormat(images.layout.master, 1, IMAGE), 2)
    with pytest.raises(FrameMissing, match=r"image 1 of .*scan\.nxs has been read twice, and not the same"):
        reader.read(0)
    assert reader.read(0)


def test_an_image_that_is_not_stored_is_not_read(images):
    from tasks.diffraction.image_files.hdf5_frames import FrameMissing, TwiceReader

    failing = FailingFormat(images.layout.master, 0, IMAGE)
    with pytest.raises(FrameMissing, match="has not been written"):
        TwiceReader(images, failing, 2).read(1)
    assert failing.handles == []
