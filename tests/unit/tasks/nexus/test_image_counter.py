"""How many images of a master are stored, and which of its images these are."""

import os
import time
from contextlib import closing

import h5py
import numpy as np
import pytest

from tasks.fresh_folders import FreshFolders
from tasks.nexus import links
from tasks.nexus.errors import UnusableMaster
from tasks.nexus.image_counter import SETTLED_S, ImageCounter
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


def write_scan(master, values, **options):
    """Write the axis of a scan."""
    with h5py.File(master, "a", libver=LIBVER) as file:
        for name, nx_class in (("entry", "NXentry"), ("entry/sample", "NXsample")):
            file.require_group(name).attrs["NX_class"] = nx_class
        file["entry/sample/depends_on"] = "axes/omega"
        axes = file["entry/sample"].create_group("axes")
        omega = axes.create_dataset("omega", data=np.array(values, float), **options)
        omega.attrs["transformation_type"] = "rotation"
        omega.attrs["depends_on"] = "/entry/sample/axes/chi"
        axes["chi"] = 30.0
        axes["chi"].attrs["depends_on"] = "."


def write_endless(master, name, dataset="data", block=2):
    """Write a virtual dataset of sources without end: `%b` in their name, or in their dataset's, is their number."""
    endless = h5py.h5s.UNLIMITED
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    space = h5py.h5s.create_simple((block, *SHAPE), (endless, *SHAPE))
    space.select_hyperslab((0, 0, 0), (endless, 1, 1), (block, 1, 1), (block, *SHAPE))
    source = h5py.h5s.create_simple((block, *SHAPE))
    creation.set_virtual(space, name.encode(), dataset.encode(), source)
    with h5py.File(master, "a", libver=LIBVER) as file:
        group = file.require_group("entry/data")
        whole = h5py.h5s.create_simple((block, *SHAPE), (endless, *SHAPE))
        h5py.h5d.create(group.id, b"data", h5py.h5t.STD_U32LE, whole, creation)


def test_files_without_end_are_told_as_they_come_until_the_scan_ends(tmp_path):
    master = tmp_path / "scan.nxs"
    write_endless(master, "b_%b.h5")
    write_scan(master, range(5))
    with closing(ImageCounter(str(master))) as counter:
        for number, (seen, found) in enumerate([(0, 2), (2, 2), (4, 1)]):
            answer = counter.look(seen, 100)
            assert (answer.found, answer.waiting_for) == (0, f"{tmp_path}/b_{number}.h5, which isn't there")
            write_frames(tmp_path / f"b_{number}.h5", 1, 2)
            answer = counter.look(seen, 100)
            assert (answer.found, answer.expected) == (found, 5)
        assert (answer.waiting_for, answer.mapped) == (None, (MappedRange(0, 5),))


def test_a_source_that_grows_is_told_until_the_scan_ends(tmp_path):
    master, data = tmp_path / "scan.nxs", tmp_path / "scan_1.h5"
    layout = h5py.VirtualLayout((1, *SHAPE), "u4", maxshape=(None, *SHAPE))
    source = h5py.VirtualSource("scan_1.h5", "data", (1, *SHAPE), "u4", maxshape=(None, *SHAPE))
    layout[0 : h5py.h5s.UNLIMITED] = source[0 : h5py.h5s.UNLIMITED]
    with h5py.File(master, "w", libver=LIBVER) as file:
        file.create_virtual_dataset("entry/data/data", layout)
    write_scan(master, range(4))
    write_growing(data, 3)
    with closing(ImageCounter(str(master))) as counter:
        answer = counter.look(0, 100)
        assert (answer.found, answer.expected, answer.waiting_for) == (3, 4, f"image 4 in {data}")
        write_growing(tmp_path / "longer.h5", 6)  # in place, this process can't: the counter has the file open in it
        (tmp_path / "longer.h5").replace(data)
        assert (counter.look(3, 100).found, counter.look(4, 100).found) == (1, 0)


def write_growing(path, count):
    with h5py.File(path, "w", libver=LIBVER) as file:
        data = np.ones((count, *SHAPE), "u4")
        file.create_dataset("data", data=data, chunks=(1, *SHAPE), maxshape=(None, *SHAPE))


def test_how_many_images_there_will_be_has_to_be_told(tmp_path):
    """Not by an axis that stands still in one place, nor by one that may grow, until its file is finished."""
    master = tmp_path / "scan.nxs"
    write_growing(tmp_path / "scan_1.h5", 3)
    write_link(master, "entry/data/data", "scan_1.h5")
    with pytest.raises(UnusableMaster, match="a known number of images; this one has no end, and the sample's axes"):
        look(master)
    write_scan(master, range(3), maxshape=(None,))
    answer = look(master)
    assert (answer.found, answer.expected) == (0, None)
    assert answer.waiting_for == f"{master}, which has 3 values of /entry/sample/axes/omega yet"
    os.utime(master, (1e9, 1e9))
    assert (look(master).found, look(master).expected) == (3, 3)


@pytest.mark.parametrize("is_linked", [False, True])
def test_a_plain_dataset_has_as_many_images_as_it_has_place_for(is_linked, tmp_path):
    master = tmp_path / "scan.nxs"
    place = tmp_path / "scan_1.h5" if is_linked else master
    write_frames(place, 1, 4, stored=3, dataset="data" if is_linked else "entry/data/data")
    if is_linked:
        write_link(master, "entry/data/data", "scan_1.h5")
    answer = look(master)
    assert (answer.found, answer.expected, answer.waiting_for) == (3, 4, f"image 4 in {place}")


def test_what_is_no_stack_of_images_is_refused(tmp_path):
    with h5py.File(tmp_path / "scan.nxs", "w") as file:
        file["entry/data/data"] = np.ones((2, 2))
    with pytest.raises(UnusableMaster, match=r"should have a virtual dataset /entry/data/data.* or a stack of images"):
        look(tmp_path / "scan.nxs")


def test_images_without_chunks_are_there_once_their_file_has_settled(tmp_path):
    """All have their space from the start: nothing tells which are written."""
    data = tmp_path / "scan_1.h5"
    with h5py.File(data, "w", libver=LIBVER) as file:
        file["data"] = np.ones((6, *SHAPE), "u4")
    master = write_master(tmp_path / "scan.nxs", 6)
    answer = look(master)
    assert (answer.found, answer.expected) == (0, 6)
    assert answer.waiting_for.startswith(f"{data}, which has just been written: the dataset data isn't chunked")
    before = time.time() - SETTLED_S
    os.utime(data, (before, before))
    assert look(master).found == 6


@pytest.mark.parametrize(
    ("shape", "chunks", "parts", "stored", "found"),
    [
        ((2, 3, *SHAPE), (1, 1, *SHAPE), [0, 1], [(0,), (1, 0)], 4),
        ((2, 3, *SHAPE), (1, 2, *SHAPE), [0, 1], [(0, slice(0, 2))], 2),
        ((2, 3, *SHAPE), (1, 1, 2, 2), [0, 1], [(0,), (1, 0, slice(0, 2))], 3),
        ((18, 2), (3, 2), [slice(0, 9), slice(9, 18)], [slice(0, 15)], 5),
        ((18, 2), (4, 2), [slice(0, 9), slice(9, 18)], [slice(0, 8)], 2),
        ((36,), (6,), [slice(0, 18), slice(18, 36)], [slice(0, 24)], 4),
    ],
)
def test_images_in_a_dataset_of_another_form_are_there_one_by_one(shape, chunks, parts, stored, found, tmp_path):
    """Six images, of which each half is a part of the dataset."""
    layout = h5py.VirtualLayout((6, *SHAPE), "u4")
    for number, part in enumerate(parts):
        layout[3 * number : 3 * number + 3] = h5py.VirtualSource("scan_1.h5", "data", shape, "u4")[part]
    with h5py.File(tmp_path / "scan.nxs", "w", libver=LIBVER) as file:
        file.create_virtual_dataset("entry/data/data", layout)
    with h5py.File(tmp_path / "scan_1.h5", "w", libver=LIBVER) as file:
        data = file.create_dataset("data", shape, "u4", chunks=chunks)
        for part in stored:
            data[part] = 1
    assert sum(number > 0 for number in read_through(tmp_path / "scan.nxs")) >= found
    answer = look(tmp_path / "scan.nxs")
    assert (answer.found, answer.expected) == (found, 6)
    assert answer.waiting_for == f"image {found + 1} in {tmp_path}/scan_1.h5"
