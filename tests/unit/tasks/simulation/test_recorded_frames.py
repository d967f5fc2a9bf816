"""Which data files a replay copies, and how many images are in them."""

import pytest

from tasks.nexus.errors import UnusableMaster
from tasks.simulation.recorded_frames import RecordedFile, count_recorded, list_recorded
from tests.support.masters import write_frames, write_link, write_virtual


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
    files = (RecordedFile("scan_1.h5", "/data", 4), RecordedFile("scan_2.h5", "/data", 4))
    assert list_recorded(scan / "scan.nxs") == files
    assert count_recorded(scan / "scan.nxs") == 7


def test_images_after_the_first_that_is_absent_do_not_count(scan):
    (scan / "scan_1.h5").unlink()
    write_frames(scan / "scan_1.h5", 1, 4, stored=2)
    _map(scan)
    assert count_recorded(scan / "scan.nxs") == 2


def _deal_out(scan):
    halves = [(slice(0, 8, 2), *HALVES[0][1:]), (slice(1, 8, 2), *HALVES[1][1:])]
    write_virtual(scan / "scan.nxs", 8, halves)


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
        (_deal_out, "deals its images out"),
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
