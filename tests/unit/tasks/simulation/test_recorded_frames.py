"""Which data files a replay copies, and how many images are in them."""

import h5py
import pytest

from tasks.nexus.errors import UnusableMaster
from tasks.simulation.recorded_frames import RecordedFrames, count_recorded, list_recorded
from tests.support.masters import LIBVER, SHAPE, write_frames, write_link, write_virtual


@pytest.fixture
def scan(tmp_path):
    """Two data files of 4 images; the last image isn't stored."""
    write_frames(tmp_path / "scan_1.h5", 1, 4)
    write_frames(tmp_path / "scan_2.h5", 5, 4, stored=3)
    return tmp_path


HALVES = [(slice(0, 4), "scan_1.h5", "data", 4, slice(0, 4)), (slice(4, 8), "scan_2.h5", "data", 4, slice(0, 4))]


def _map(scan):
    write_virtual(scan / "scan.nxs", 8, HALVES)


def _link_the_map(scan):
    write_virtual(scan / "scan_vds.h5", 8, HALVES, "data")
    write_link(scan / "scan.nxs", "entry/data/data", "scan_vds.h5")


def _nest_the_map(scan):
    write_virtual(scan / "scan_vds.h5", 8, HALVES, "data")
    write_virtual(scan / "scan.nxs", 8, [(slice(0, 8), "scan_vds.h5", "data", 8, slice(0, 8))])


def _link_files(scan):
    for number in (1, 2):
        write_link(scan / "scan.nxs", f"entry/data/data_{number}", f"scan_{number}.h5")


@pytest.mark.parametrize("make", [_map, _link_the_map, _nest_the_map, _link_files])
def test_files_are_listed_in_the_order_of_their_images(scan, make):
    make(scan)
    files = (RecordedFrames("scan_1.h5", "/data", 0, 4), RecordedFrames("scan_2.h5", "/data", 0, 4))
    assert list_recorded(scan / "scan.nxs") == files
    assert count_recorded(scan / "scan.nxs") == 7


def test_images_after_the_first_that_is_absent_do_not_count(scan):
    (scan / "scan_1.h5").unlink()
    write_frames(scan / "scan_1.h5", 1, 4, stored=2)
    _map(scan)
    assert count_recorded(scan / "scan.nxs") == 2


def test_masters_on_parts_of_files_have_their_own_images(scan):
    write_virtual(scan / "a.nxs", 3, [(slice(0, 3), "scan_1.h5", "data", 4, slice(0, 3))])
    parts = [(slice(0, 1), "scan_1.h5", "data", 4, slice(3, 4)), (slice(1, 3), "scan_2.h5", "data", 4, slice(0, 2))]
    write_virtual(scan / "b.nxs", 3, parts)
    assert list_recorded(scan / "a.nxs") == (RecordedFrames("scan_1.h5", "/data", 0, 3),)
    assert list_recorded(scan / "b.nxs") == (
        RecordedFrames("scan_1.h5", "/data", 3, 1),
        RecordedFrames("scan_2.h5", "/data", 0, 2),
    )
    assert (count_recorded(scan / "a.nxs"), count_recorded(scan / "b.nxs")) == (3, 3)


def test_images_that_are_dealt_out_to_files_keep_their_order(scan):
    halves = [(slice(0, 8, 2), *HALVES[0][1:]), (slice(1, 8, 2), *HALVES[1][1:])]
    write_virtual(scan / "scan.nxs", 8, halves)
    places = [(part.name, part.first, part.count) for part in list_recorded(scan / "scan.nxs")]
    assert places == [(f"scan_{file}.h5", frame, 1) for frame in range(4) for file in (1, 2)]


def _map_numbered_files(path):
    """Map two frames of each of the files without end that `%b` numbers, which h5py has no call for."""
    endless, frames = h5py.h5s.UNLIMITED, (2, *SHAPE)
    images = h5py.h5s.create_simple(frames, (endless, *SHAPE))
    images.select_hyperslab((0, 0, 0), (endless, 1, 1), (2, 1, 1), frames)
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_virtual(images, b"b_%b.h5", b"data", h5py.h5s.create_simple(frames))
    with h5py.File(path, "w", libver=LIBVER) as file:
        group = file.create_group("entry/data")
        space = h5py.h5s.create_simple((8, *SHAPE), (endless, *SHAPE))
        h5py.h5d.create(group.id, b"data", h5py.h5t.STD_U32LE, space, properties)


def test_files_numbered_without_end_end_with_the_last_one(tmp_path):
    for number in range(4):
        write_frames(tmp_path / f"b_{number}.h5", 2 * number + 1, 2)
    _map_numbered_files(tmp_path / "scan.nxs")
    assert [part.name for part in list_recorded(tmp_path / "scan.nxs")] == [f"b_{number}.h5" for number in range(4)]
    assert count_recorded(tmp_path / "scan.nxs") == 8
    (tmp_path / "b_1.h5").unlink()
    with pytest.raises(UnusableMaster, match=r"names the data file b_1\.h5, which isn't in"):
        count_recorded(tmp_path / "scan.nxs")


def _map_parts_of_frames(scan):
    with h5py.File(scan / "scan.nxs", "w", libver=LIBVER) as file:
        layout = h5py.VirtualLayout((4, SHAPE[0], 2 * SHAPE[1]), "u4")
        for number in (0, 1):
            layout[:, :, number * SHAPE[1] : (number + 1) * SHAPE[1]] = h5py.VirtualSource(
                f"scan_{number + 1}.h5", "data", (4, *SHAPE), "u4"
            )
        file.create_virtual_dataset("entry/data/data", layout)


def _chunk_oddly(scan):
    (scan / "scan_2.h5").unlink()
    write_frames(scan / "scan_2.h5", 5, 4, chunk=2)
    _map(scan)


def _put_elsewhere(scan):
    (scan / "raw").mkdir()
    (scan / "scan_2.h5").rename(scan / "raw/scan_2.h5")
    write_virtual(scan / "scan.nxs", 8, [HALVES[0], (slice(4, 8), "raw/scan_2.h5", *HALVES[1][2:])])


def _hold_all(scan):
    write_frames(scan / "scan.nxs", 1, 3, dataset="entry/data/data")


def _lose_one(scan):
    (scan / "scan_2.h5").unlink()
    _map(scan)


def _lose_a_linked_one(scan):
    (scan / "scan_2.h5").unlink()
    _link_files(scan)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_map_parts_of_frames, "expected each image to be one frame"),
        (_chunk_oddly, "expected one an image"),
        (_put_elsewhere, "expected a file beside it"),
        (_hold_all, "holds its images itself"),
        (_lose_one, r"names the data file scan_2\.h5, which isn't in"),
        (_lose_a_linked_one, r"names the data file scan_2\.h5, which isn't in"),
    ],
)
def test_masters_that_can_not_be_replayed_are_refused(scan, make, reason):
    make(scan)
    with pytest.raises(UnusableMaster, match=reason):
        list_recorded(scan / "scan.nxs")
