"""How many images of a master are stored, and which of its images these are."""

from contextlib import closing

import h5py
import pytest

from tasks.fresh_folders import FreshFolders
from tasks.nexus import links
from tasks.nexus.image_counter import ImageCounter
from tasks.nexus.layout import MappedRange
from tests.support.masters import LIBVER, SHAPE, read_through, write_frames, write_link, write_virtual
from tests.support.name_cache import NameCache


@pytest.fixture
def nested(tmp_path):
    """A master of two virtual datasets of 6 images, of each of which the first two and the last are gaps."""
    for number in (1, 2):
        write_frames(tmp_path / f"scan_{number}.h5", 10 * number, 3)
        write_virtual(
            tmp_path / f"part_{number}.h5",
            6,
            [(slice(2, 5), f"scan_{number}.h5", "data", 3, slice(0, 3))],
            "data",
        )
    mappings = [(slice(6 * part, 6 * part + 6), f"part_{part + 1}.h5", "data", 6, slice(0, 6)) for part in (0, 1)]
    write_virtual(tmp_path / "scan.nxs", 12, mappings)
    assert read_through(tmp_path / "scan.nxs") == [0, 0, 10, 11, 12, 0, 0, 0, 20, 21, 22, 0]
    return tmp_path / "scan.nxs"


MAPPED = (MappedRange(2, 5), MappedRange(8, 11))


def test_gaps_of_nested_virtual_datasets_are_left_out(nested):
    with closing(ImageCounter(str(nested))) as counter:
        answer = counter.look(0, 100)
    assert (answer.found, answer.expected, answer.waiting_for, answer.mapped) == (6, 6, None, MAPPED)


def test_gaps_are_left_out_image_by_image(nested):
    with closing(ImageCounter(str(nested))) as counter:
        assert [counter.look(seen, 1).found for seen in range(7)] == [1, 1, 1, 1, 1, 1, 0]


@pytest.mark.parametrize("seen", range(7))
def test_a_counter_that_starts_late_has_the_same_images(nested, seen):
    """As one does that replaces a killed one."""
    with closing(ImageCounter(str(nested))) as counter:
        answer = counter.look(seen, 100)
    assert (answer.found, answer.expected, answer.mapped) == (6 - seen, 6, MAPPED)


def test_a_nested_virtual_dataset_whose_file_comes_later_is_waited_for(nested):
    hidden = nested.with_name("part_2.h5").rename(nested.with_name("hidden.h5"))
    with closing(ImageCounter(str(nested))) as counter:
        answer = counter.look(0, 100)
        assert (answer.found, answer.waiting_for) == (3, f"{nested.parent}/part_2.h5, which isn't there")
        hidden.rename(nested.with_name("part_2.h5"))
        answer = counter.look(3, 100)
        assert (answer.found, answer.expected, answer.mapped) == (3, 6, MAPPED)


def test_a_data_file_is_seen_though_its_absence_is_remembered(nested, monkeypatch):
    """As by a network file system's client."""
    cache = NameCache(nested.parent, monkeypatch)
    monkeypatch.setattr(links, "_FOLDERS", FreshFolders())
    hidden = nested.with_name("part_2.h5").rename(nested.with_name("hidden.h5"))
    with closing(ImageCounter(str(nested))) as counter:
        assert counter.look(0, 100).found == 3
        hidden.rename(nested.with_name("part_2.h5"))
        assert str(nested.with_name("part_2.h5")) in cache.absent
        monkeypatch.setattr(links, "_FOLDERS", FreshFolders())  # a second later
        assert counter.look(3, 100).found == 3


def write_master(path, count):
    """Write a master of so many images of scan_1.h5."""
    write_virtual(path, count, [(slice(0, count), "scan_1.h5", "data", 6, slice(0, count))])
    return path


@pytest.fixture
def replaced(tmp_path):
    """A counter that has seen the 2 images of a master that has 6 now."""
    write_frames(tmp_path / "scan_1.h5", 1, 6)
    with closing(ImageCounter(str(write_master(tmp_path / "scan.nxs", 2)))) as counter:
        assert (counter.look(0, 100).found, counter.look(2, 100).expected) == (2, 2)
        write_master(tmp_path / "new.nxs", 6).replace(tmp_path / "scan.nxs")
        yield counter


def test_a_replaced_master_is_read_anew(replaced):
    answer = replaced.look(2, 100)
    assert (answer.found, answer.expected, answer.mapped) == (4, 6, (MappedRange(0, 6),))


def test_a_replaced_master_in_the_making_is_waited_for(replaced, tmp_path):
    master = tmp_path / "scan.nxs"
    whole = master.read_bytes()
    master.write_bytes(whole[: len(whole) // 2])
    answer = replaced.look(2, 100)
    assert (answer.found, answer.expected, "can't be read yet" in answer.waiting_for) == (0, None, True)
    master.write_bytes(whole)
    assert (replaced.look(2, 100).found, replaced.look(6, 100).expected) == (4, 6)


def test_a_master_written_in_place_is_read_anew(tmp_path):
    write_frames(tmp_path / "scan_1.h5", 1, 6)
    master = write_master(tmp_path / "scan.nxs", 2)
    with closing(ImageCounter(str(master))) as counter:
        assert counter.look(0, 100).expected == 2
        with h5py.File(master, "r+", libver=LIBVER) as file:
            del file["entry/data/data"]
        write_master(master, 6)
        assert (counter.look(2, 100).found, counter.look(6, 100).expected) == (4, 6)


def test_a_master_that_is_away_for_a_while_stays_known(tmp_path):
    write_frames(tmp_path / "scan_1.h5", 1, 6)
    master = write_master(tmp_path / "scan.nxs", 2)
    with closing(ImageCounter(str(master))) as counter:
        assert counter.look(0, 1).found == 1
        master.rename(tmp_path / "away.nxs")
        assert (counter.look(1, 100).found, counter.look(2, 100).expected) == (1, 2)


def look(master, seen=0):
    with closing(ImageCounter(str(master))) as counter:
        return counter.look(seen, 100)


def test_images_of_several_modules_are_there_when_all_their_parts_are(tmp_path):
    write_frames(tmp_path / "top.h5", 1, 3)
    layout = h5py.VirtualLayout((3, 6, 2), "u4")
    for name, rows in (("top.h5", slice(0, 3)), ("bottom.h5", slice(3, 6))):
        layout[:, rows] = h5py.VirtualSource(name, "data", (3, *SHAPE), "u4")
    with h5py.File(tmp_path / "scan.nxs", "w", libver=LIBVER) as file:
        file.create_virtual_dataset("entry/data/data", layout)
    answer = look(tmp_path / "scan.nxs")
    assert (answer.found, answer.expected, answer.waiting_for) == (0, 3, f"{tmp_path}/bottom.h5, which isn't there")
    write_frames(tmp_path / "bottom.h5", 1, 3, stored=2)
    answer = look(tmp_path / "scan.nxs")
    assert (answer.found, answer.expected, answer.waiting_for) == (2, 3, f"image 3 in {tmp_path}/bottom.h5")


def test_images_of_a_master_of_links_are_counted_once_all_files_are_there(tmp_path):
    """How many images there will be isn't known before."""
    write_frames(tmp_path / "scan_1.h5", 1, 3)
    for number in (1, 2):
        write_link(tmp_path / "scan_master.h5", f"entry/data/data_{number:06d}", f"scan_{number}.h5")
    with closing(ImageCounter(f"{tmp_path}/scan_master.h5")) as counter:
        answer = counter.look(0, 100)
        assert (answer.found, answer.expected) == (0, None)
        assert answer.waiting_for == f"{tmp_path}/scan_2.h5, which isn't there"
        write_frames(tmp_path / "scan_2.h5", 4, 2, stored=1)
        answer = counter.look(0, 100)
        assert (answer.found, answer.expected, answer.waiting_for) == (4, 5, f"image 5 in {tmp_path}/scan_2.h5")


def test_a_source_that_the_master_lacks_is_waited_for(tmp_path):
    write_frames(tmp_path / "scan_1.h5", 1, 2)
    first = (slice(0, 2), "scan_1.h5", "data", 2, slice(0, 2))
    write_virtual(tmp_path / "scan.nxs", 4, [first, (slice(2, 4), ".", "/entry/data/nowhere", 2, slice(0, 2))])
    answer = look(tmp_path / "scan.nxs")
    assert (answer.found, answer.expected) == (2, 4)
    assert answer.waiting_for == f"{tmp_path}/scan.nxs, which has no dataset /entry/data/nowhere yet"


def test_a_virtual_dataset_elsewhere_that_is_replaced_is_read_anew(tmp_path):
    write_frames(tmp_path / "scan_1.h5", 1, 6)
    for count, name in ((2, "scan_vds.h5"), (6, "new.h5")):
        write_virtual(tmp_path / name, count, [(slice(0, count), "scan_1.h5", "data", 6, slice(0, count))], "data")
    write_link(tmp_path / "scan.nxs", "entry/data/data", "scan_vds.h5")
    with closing(ImageCounter(f"{tmp_path}/scan.nxs")) as counter:
        assert counter.look(0, 100).expected == 2
        (tmp_path / "new.h5").replace(tmp_path / "scan_vds.h5")
        assert (counter.look(2, 100).found, counter.look(6, 100).expected) == (4, 6)
