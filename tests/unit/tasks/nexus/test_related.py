"""Which files belong to a master, how many images each has."""

import h5py
import numpy as np
import pytest

from tasks.nexus.counting import count_images
from tasks.nexus.errors import NotReady
from tasks.nexus.related import list_linked_files
from tests.support.masters import write_frames, write_link, write_virtual


@pytest.fixture
def scan(tmp_path):
    """Two data files in `raw`, of 4 images each; the second lacks its last one."""
    write_frames(tmp_path / "raw/scan_1.h5", 1, 4)
    write_frames(tmp_path / "raw/scan_2.h5", 5, 4, stored=3)
    return tmp_path


HALVES = [(slice(0, 4), "scan_1.h5", "data", 4, slice(0, 4)), (slice(4, 8), "scan_2.h5", "data", 4, slice(0, 4))]


def count(master):
    """Count by the path below the master's folder."""
    folder = master.parent
    return {file.removeprefix(f"{folder}/"): images for file, images in count_images(str(master)).items()}


def test_files_of_a_virtual_dataset_without_links_are_counted(scan):
    write_virtual(scan / "raw/scan.nxs", 8, HALVES)
    assert count(scan / "raw/scan.nxs") == {"scan.nxs": 0, "scan_1.h5": 4, "scan_2.h5": 0}


def test_files_behind_a_linked_virtual_dataset_are_counted(scan):
    write_virtual(scan / "raw/scan_vds.h5", 8, HALVES, "data")
    write_link(scan / "scan.nxs", "entry/data/data", "raw/scan_vds.h5")
    (scan / "raw/scan_2.h5").unlink()
    assert count(scan / "scan.nxs") == {"scan.nxs": 0, "raw/scan_1.h5": 4, "raw/scan_2.h5": None, "raw/scan_vds.h5": 0}


def test_a_virtual_dataset_that_is_not_there_is_missing(scan):
    write_link(scan / "scan.nxs", "entry/data/data", "raw/scan_vds.h5")
    assert count(scan / "scan.nxs") == {"scan.nxs": 0, "raw/scan_vds.h5": None}


def test_files_beside_the_real_master_are_counted(scan):
    write_virtual(scan / "raw/scan.nxs", 8, HALVES)
    write_link(scan / "raw/scan.nxs", "entry/mask", "./../raw/meta.h5", "mask")
    (scan / "scan.nxs").symlink_to("raw/scan.nxs")
    assert count(scan / "scan.nxs") == {"scan.nxs": 0, "raw/meta.h5": None, "raw/scan_1.h5": 4, "raw/scan_2.h5": 0}


def test_files_that_linked_files_link_belong_too(scan):
    write_link(scan / "scan.nxs", "entry/data/data", "raw/scan_1.h5")
    write_link(scan / "scan.nxs", "entry/meta", "meta/first.h5", "/")
    write_link(scan / "meta/first.h5", "mask", "second.h5", "mask")
    write_link(scan / "meta/second.h5", "back", "../scan.nxs", "/")
    assert count(scan / "scan.nxs") == {
        "scan.nxs": 0,
        "raw/scan_1.h5": 4,
        "meta/first.h5": 0,
        "meta/second.h5": 0,
    }


def test_images_in_the_master_count_whatever_its_dataset_is_called(tmp_path):
    write_frames(tmp_path / "scan.h5", 1, 3, dataset="entry/data/data")
    assert count(tmp_path / "scan.h5") == {"scan.h5": 3}


def test_a_master_in_the_making_is_not_ready(tmp_path):
    (tmp_path / "scan.nxs").write_bytes(bytes(1000))
    with pytest.raises(NotReady):
        count_images(f"{tmp_path}/scan.nxs")


def test_each_linked_file_is_listed_once(scan):
    write_virtual(scan / "raw/scan.nxs", 8, HALVES)
    for number in (1, 2):
        write_link(scan / "raw/scan.nxs", f"entry/data/data_{number}", f"scan_{number}.h5")
    assert [linked.expected for linked in list_linked_files(f"{scan}/raw/scan.nxs")] == [
        f"{scan}/raw/scan_1.h5",
        f"{scan}/raw/scan_2.h5",
    ]


def test_a_file_that_holds_one_image_counts_one(tmp_path):
    with h5py.File(tmp_path / "image.h5", "w") as file:
        file["data"] = np.ones((3, 2), "u4")
    write_virtual(tmp_path / "scan.nxs", 1, [(0, "image.h5", "data", None, slice(None))])
    assert count(tmp_path / "scan.nxs") == {"scan.nxs": 0, "image.h5": 1}


def test_files_of_no_format_belong_too(tmp_path):
    with h5py.File(tmp_path / "scan.nxs", "w") as file:
        file.create_dataset("entry/data/data", (2, 3, 2), "u4", external=[(f"{tmp_path}/raw.bin", 0, 48)])[:] = 1
    assert count(tmp_path / "scan.nxs") == {"scan.nxs": 2, "raw.bin": 0}


def test_a_source_that_the_master_lacks_hides_no_other_file(scan):
    missing = (slice(4, 8), ".", "entry/data/nowhere", 4, slice(0, 4))
    write_virtual(scan / "raw/scan.nxs", 8, [HALVES[0], missing])
    assert count(scan / "raw/scan.nxs") == {"scan.nxs": 0, "scan_1.h5": 4}


@pytest.mark.parametrize("name", ["raw/scan_2.h5", "raw/meta.h5"])
def test_a_file_that_its_writer_holds_is_not_taken_for_missing(scan, name):
    """The operators would be told of a loss."""
    write_virtual(scan / "raw/scan.nxs", 8, HALVES)
    write_link(scan / "raw/scan.nxs", "entry/mask", "meta.h5", "mask")
    with h5py.File(scan / name, "a"), pytest.raises(NotReady, match=f"{name}, which is held by a writer"):
        count_images(f"{scan}/raw/scan.nxs")
    assert count(scan / "raw/scan.nxs")["scan_1.h5"] == 4


def test_all_datasets_of_a_file_count_that_a_virtual_dataset_maps(tmp_path):
    """Whether or not one of them is linked besides."""
    master, data = tmp_path / "scan.nxs", tmp_path / "scan_1.h5"
    for number in range(3):
        write_frames(data, 1, 2, dataset=f"block_{number}")
    mappings = [(slice(2 * part, 2 * part + 2), "scan_1.h5", f"block_{part}", 2, slice(0, 2)) for part in range(3)]
    write_virtual(master, 6, mappings)
    assert count_images(str(master)) == {str(master): 0, str(data): 6}
    write_link(master, "entry/data/data_000001", "scan_1.h5", "block_0")
    assert count_images(str(master)) == {str(master): 0, str(data): 6}
