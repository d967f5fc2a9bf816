"""Which images of a master are there, and which data files keep others from it."""

import h5py
import numpy as np
import pytest

from tasks.diffraction.image_files.stored_images import _find_stored
from tasks.nexus.images import MasterImages

pytestmark = pytest.mark.dials

SHAPE = (4, 5)


@pytest.fixture
def master(tmp_path):
    """A master that maps images 1 to 2 to a file, 3 to 4 to none, 5 to 6 to another, 7 to 8 to a third."""
    layout = h5py.VirtualLayout((8, *SHAPE), np.uint16)
    for number, first in enumerate((0, 4, 6), 1):
        name = f"m_{number}.h5"
        with h5py.File(tmp_path / name, "w") as file:
            file.create_dataset("data", data=np.ones((2, *SHAPE), np.uint16), chunks=(1, *SHAPE))
        layout[first : first + 2] = h5py.VirtualSource(name, "data", (2, *SHAPE))
    with h5py.File(tmp_path / "m.nxs", "w") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        data = entry.create_group("data")
        data.attrs["NX_class"] = "NXdata"
        data.create_virtual_dataset("data", layout)
    return tmp_path / "m.nxs"


def find(master):
    images = MasterImages.of(str(master))
    try:
        return _find_stored(images, 8)
    finally:
        images.close()


def test_numbers_go_on_behind_a_gap_that_is_mapped_to_no_file(master):
    found = find(master)
    assert found.stored == (1, 2, 5, 6, 7, 8)
    assert (found.expected, found.missing, found.last) == (6, 0, 8)
    assert not found.unread


def test_a_broken_data_file_is_named_with_what_it_lacks(master):
    broken = master.with_name("m_3.h5")
    broken.write_bytes(broken.read_bytes()[:1000])
    found = find(master)
    assert (found.stored, found.missing) == ((1, 2, 5, 6), 2)
    [unread] = found.unread
    assert (unread.file, unread.first) == (str(broken), 7)
    assert "truncated file" in unread.reason
    assert found.damages == (unread,)


def test_a_data_file_that_is_absent_may_come_unless_later_ones_are_there(master):
    master.with_name("m_3.h5").unlink()
    found = find(master)
    assert [(file.file, file.reason) for file in found.unread] == [(str(master.with_name("m_3.h5")), "isn't there")]
    assert not found.damages
    master.with_name("m_1.h5").unlink()
    found = find(master)
    assert [file.first for file in found.unread] == [1, 7]
    assert [file.first for file in found.damages] == [1]
