"""A master's layout says of each image what HDF5 itself reads through the master."""

import os
import time
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.nexus.errors import FileAbsent, NoSuchImage, NotReady, UnusableMaster
from tasks.nexus.image_counter import ImageCounter
from tasks.nexus.images import MasterImages
from tasks.nexus.layout import ImageBlock, Layout, MappedRange
from tasks.nexus.links import LinkedFile
from tasks.nexus.master import read_layout
from tasks.nexus.opening import open_file
from tests.support.masters import LIBVER, SHAPE, read_through, write_frames, write_link, write_virtual


def read_directly(master):
    """Return each image's number from the data files; 0 for those that aren't there."""
    with closing(MasterImages.of(str(master))) as images:
        return [read_image(images, image) for image in range(images.layout.end)]


def read_image(images, image):
    try:
        block, frames = images.open(image)
    except (NotReady, NoSuchImage):
        return 0
    frame = block.frame_of(image)
    return int(frames.dataset[() if frame is None else frame][0, 0]) if frames.count_stored(frame, 1) else 0


def trim(numbers):
    """Leave out what is missing at the end: the layout ends with the last image that is mapped."""
    while numbers and not numbers[-1]:
        numbers = numbers[:-1]
    return numbers


@st.composite
def _slices(draw, length, count):
    """A slice of so many of `length`."""
    step = draw(st.integers(1, max(1, (length - 1) // max(count - 1, 1))))
    start = draw(st.integers(0, length - 1 - (count - 1) * step))
    return slice(start, start + (count - 1) * step + 1, step)


@st.composite
def layouts(draw):
    """A layout: images dealt out to files in runs and strides, with gaps, missing files and frames not stored."""
    files = draw(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6), st.booleans()), min_size=1, max_size=3))
    size = draw(st.integers(1, 20))
    mappings, taken = [], set()
    for number, (length, _, _) in enumerate(files):
        count = draw(st.integers(1, min(length, size)))
        images = draw(_slices(size, count))
        covered = set(range(size)[images])
        if covered & taken:
            continue
        taken |= covered
        frames = draw(_slices(length, count))
        mappings.append((images, f"data_{number}.h5", "data", length, frames))
    form = draw(st.sampled_from(["plain", "linked", "dotted", "elsewhere", "symbolic", "nested"]))
    return files, size, mappings, form, draw(st.integers(0, size - 1))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layout=layouts())
def test_images_are_those_that_hdf5_reads_through_the_master(tmp_path_factory, layout):
    folder = tmp_path_factory.mktemp("scan")
    files, size, mappings, form, start = layout
    raw = folder / "raw" if form in ("elsewhere", "symbolic", "nested") else folder
    for number, (length, stored, is_there) in enumerate(files):
        if is_there:
            write_frames(raw / f"data_{number}.h5", 100 * (number + 1), length, min(stored, length))
    master = folder / "scan.nxs"
    match form:
        case "plain":
            write_virtual(master, size, mappings)
        case "linked":
            write_virtual(folder / "scan_vds.h5", size, mappings, "data")
            write_link(master, "entry/data/data", "scan_vds.h5")
        case "elsewhere":
            write_virtual(raw / "scan_vds.h5", size, mappings, "a/b")
            write_link(master, "entry/data/data", "raw/scan_vds.h5", "a/b")
        case "dotted":
            for number in range(len(files)):
                write_link(master, f"entry/data/data_{number}", f"data_{number}.h5")
            dotted = [
                (images, ".", f"/entry/data/{name.removesuffix('.h5')}", length, frames)
                for images, name, _, length, frames in mappings
            ]
            write_virtual(master, size, dotted)
        case "symbolic":
            write_virtual(raw / "scan.nxs", size, mappings)
            master.symlink_to("raw/scan.nxs")
        case "nested":
            write_virtual(raw / "scan_vds.h5", size, mappings, "data")
            rest = slice(start, size)
            write_virtual(master, size, [(slice(0, size - start), "raw/scan_vds.h5", "data", size, rest)])
    expected = read_through(master)
    assert trim(read_directly(master)) == trim(expected)


@pytest.fixture
def scan(tmp_path):
    """Two data files of 4 images each, numbered from 1."""
    write_frames(tmp_path / "scan_1.h5", 1, 4)
    write_frames(tmp_path / "scan_2.h5", 5, 4)
    return tmp_path


HALVES = [(slice(0, 4), "scan_1.h5", "data", 4, slice(0, 4)), (slice(4, 8), "scan_2.h5", "data", 4, slice(0, 4))]


def test_gaps_are_no_images(scan):
    write_virtual(scan / "scan.nxs", 12, [HALVES[0], (slice(6, 10), *HALVES[1][1:])])
    layout = read_layout(str(scan / "scan.nxs"))
    assert layout.mapped == (MappedRange(0, 4), MappedRange(6, 10))
    with pytest.raises(NoSuchImage, match="maps image 5 to no file"):
        layout.find(4)
    with pytest.raises(NoSuchImage, match="no image 11: it maps 10 images"):
        layout.find(10)


def test_images_dealt_out_in_turn_are_counted_in_no_time(tmp_path):
    """As many questions as images, each of which must not go through all of the layout."""
    count = 6000
    for number in (1, 2):
        write_frames(tmp_path / f"scan_{number}.h5", 1, count // 2)
    mappings = [
        (slice(number - 1, count, 2), f"scan_{number}.h5", "data", count // 2, slice(0, count // 2))
        for number in (1, 2)
    ]
    write_virtual(tmp_path / "scan.nxs", count, mappings)
    started = time.process_time()
    answer = ImageCounter(f"{tmp_path}/scan.nxs").look(0, count)
    assert (answer.found, answer.mapped) == (count, (MappedRange(0, count),))
    assert time.process_time() - started < 4, "it takes half a second"


@pytest.mark.parametrize("signal", [None, "data", "counts"])
def test_images_are_what_the_signal_names(scan, signal):
    write_virtual(scan / "scan.nxs", 8, HALVES, f"entry/images/{signal or 'data'}")
    with h5py.File(scan / "scan.nxs", "r+") as file:
        file["entry"].attrs["NX_class"] = np.bytes_("NXentry")
        file["entry/images"].attrs["NX_class"] = "NXdata"
        file["entry/images/angles"] = np.arange(8)
        if signal:
            file["entry/images"].attrs["signal"] = np.bytes_(signal)
    assert read_layout(str(scan / "scan.nxs")).dataset == f"/entry/images/{signal or 'data'}"
    assert read_directly(scan / "scan.nxs") == list(range(1, 9))


def test_images_of_dectris_masters_follow_one_another(scan):
    master = scan / "scan_master.h5"
    for number in (1, 2, 3):
        write_link(master, f"entry/data/data_{number:06d}", f"scan_{number}.h5")
    layout = read_layout(str(master))
    assert [(block.first, block.count) for block in layout.blocks] == [(0, 4), (4, 4)]
    assert read_directly(master) == list(range(1, 9))
    with pytest.raises(FileAbsent, match=r"scan_3\.h5, which isn't there"):
        layout.find(8)
    write_frames(scan / "scan_3.h5", 9, 2)
    assert read_directly(master) == list(range(1, 11))


def test_a_missing_file_hides_the_numbers_of_those_after_it(scan):
    master = scan / "scan_master.h5"
    for number in (1, 3, 2):
        write_link(master, f"entry/data/data_{number:06d}", f"scan_{number}.h5")
    (scan / "scan_1.h5").rename(scan / "scan_3.h5")
    with pytest.raises(FileAbsent, match=r"scan_1\.h5, which isn't there"):
        read_layout(str(master))


def test_images_may_stand_in_the_master(tmp_path):
    write_frames(tmp_path / "scan.h5", 1, 3, stored=2, dataset="entry/data/data", chunk=2)
    assert read_directly(tmp_path / "scan.h5") == [1, 2, 0], "a chunk of two is stored, the next isn't"


def test_a_growing_dataset_has_no_last_image(tmp_path):
    with h5py.File(tmp_path / "scan_1.h5", "w") as file:
        file.create_dataset("data", data=np.ones((2, *SHAPE)), maxshape=(None, *SHAPE), chunks=(1, *SHAPE))
    write_link(tmp_path / "scan.nxs", "entry/data/data", "scan_1.h5")
    with closing(MasterImages.of(str(tmp_path / "scan.nxs"))) as images:
        assert images.is_stored(1)
        assert not images.is_stored(2)


def test_a_virtual_dataset_without_end_is_followed(tmp_path):
    write_frames(tmp_path / "scan_1.h5", 1, 3)
    endless = h5py.h5s.create_simple((3, *SHAPE), (h5py.h5s.UNLIMITED, *SHAPE))
    endless.select_hyperslab((0, 0, 0), (h5py.h5s.UNLIMITED, 1, 1), (1, 1, 1), (1, *SHAPE))
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_virtual(endless, b"scan_1.h5", b"data", endless)
    space = h5py.h5s.create_simple((0, *SHAPE), (h5py.h5s.UNLIMITED, *SHAPE))
    with h5py.File(tmp_path / "scan.nxs", "w", libver=LIBVER) as file:
        group = file.create_group("entry/data")
        h5py.h5d.create(group.id, b"data", h5py.h5t.NATIVE_UINT32, space, dcpl=properties)
    assert read_through(tmp_path / "scan.nxs") == [1, 2, 3]
    with closing(MasterImages.of(str(tmp_path / "scan.nxs"))) as images:
        assert [read_image(images, image) for image in range(4)] == [1, 2, 3, 0]


def test_a_percent_sign_in_a_name_is_written_twice(tmp_path):
    write_frames(tmp_path / "50%.h5", 1, 2)
    write_virtual(tmp_path / "scan.nxs", 2, [(slice(0, 2), "50%%.h5", "data", 2, slice(0, 2))])
    assert read_directly(tmp_path / "scan.nxs") == read_through(tmp_path / "scan.nxs") == [1, 2]


def test_a_replaced_data_file_is_opened_anew(scan):
    write_virtual(scan / "scan.nxs", 8, HALVES)
    with closing(MasterImages.of(str(scan / "scan.nxs"))) as images:
        assert read_image(images, 0) == 1
        write_frames(scan / "new.h5", 51, 4)
        (scan / "new.h5").replace(scan / "scan_1.h5")
        assert read_image(images, 0) == 51


def test_parts_of_an_image_are_all_waited_for(tmp_path):
    write_frames(tmp_path / "top.h5", 1, 2)
    write_frames(tmp_path / "bottom.h5", 1, 2, stored=1)
    layout = h5py.VirtualLayout((2, 6, 2), "u4")
    for name, rows in (("top.h5", slice(0, 3)), ("bottom.h5", slice(3, 6))):
        layout[:, rows] = h5py.VirtualSource(name, "data", (2, *SHAPE), "u4")
    with h5py.File(tmp_path / "scan.nxs", "w", libver=LIBVER) as file:
        file.create_virtual_dataset("entry/data/data", layout)
    with closing(MasterImages.of(str(tmp_path / "scan.nxs"))) as images:
        assert not images.layout.is_by_frame
        assert (images.is_stored(0), images.is_stored(1)) == (True, False)


def test_a_part_of_an_image_of_which_another_is_mapped_nowhere_is_an_image(tmp_path):
    write_frames(tmp_path / "top.h5", 1, 4)
    write_frames(tmp_path / "bottom.h5", 1, 2)
    layout = h5py.VirtualLayout((4, 6, 2), "u4")
    layout[:, :3] = h5py.VirtualSource("top.h5", "data", (4, *SHAPE), "u4")
    layout[:2, 3:] = h5py.VirtualSource("bottom.h5", "data", (2, *SHAPE), "u4")
    with h5py.File(tmp_path / "scan.nxs", "w", libver=LIBVER) as file:
        file.create_virtual_dataset("entry/data/data", layout)
    with closing(MasterImages.of(str(tmp_path / "scan.nxs"))) as images:
        assert [images.is_stored(image) for image in range(4)] == [True] * 4
        (tmp_path / "top.h5").unlink()
        with pytest.raises(FileAbsent):
            images.is_stored(3)


def test_files_of_one_image_each_are_followed(tmp_path):
    for number in (1, 2, 3):
        with h5py.File(tmp_path / f"image_{number}.h5", "w") as file:
            file["data"] = np.full(SHAPE, number, "u4")
    mappings = [(number - 1, f"image_{number}.h5", "data", None, slice(None)) for number in (1, 2, 3)]
    write_virtual(tmp_path / "scan.nxs", 3, mappings)
    (tmp_path / "image_2.h5").unlink()
    assert read_directly(tmp_path / "scan.nxs") == read_through(tmp_path / "scan.nxs") == [1, 0, 3]


def write_endless(path, *sources):
    """Write a virtual dataset without end, of sources (file name, first image, stride, frames in a row)."""
    endless = h5py.h5s.UNLIMITED
    space = h5py.h5s.create_simple((6, *SHAPE), (endless, *SHAPE))
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    for name, first, stride, block in sources:
        images = space.copy()
        images.select_hyperslab((first, 0, 0), (endless, 1, 1), (stride, 1, 1), (block, *SHAPE))
        frames = h5py.h5s.create_simple((block, *SHAPE))
        if "%b" not in name:
            frames = h5py.h5s.create_simple((3, *SHAPE), (endless, *SHAPE))
            frames.select_hyperslab((0, 0, 0), (endless, 1, 1), (1, 1, 1), (1, *SHAPE))
        properties.set_virtual(images, name.encode(), b"data", frames)
    with h5py.File(path, "w", libver=LIBVER) as file:
        file.create_group("entry/data")
        h5py.h5d.create(file.id, b"entry/data/data", h5py.h5t.NATIVE_UINT32, space, properties)


def test_files_without_end_are_followed_as_far_as_they_are_there(tmp_path):
    for number in (0, 1, 2):
        write_frames(tmp_path / f"100%_{number}.h5", 1 + 2 * number, 2)
    write_endless(tmp_path / "scan.nxs", ("100%%_%b.h5", 0, 2, 2))
    assert read_directly(tmp_path / "scan.nxs") == read_through(tmp_path / "scan.nxs") == [1, 2, 3, 4, 5, 6]
    (tmp_path / "100%_1.h5").rename(tmp_path / "late.h5")
    layout = read_layout(str(tmp_path / "scan.nxs"))
    assert (layout.end, read_through(tmp_path / "scan.nxs")) == (2, [1, 2])
    with pytest.raises(FileAbsent, match=r"100%_1\.h5, which isn't there"):
        layout.find(2)


def test_images_dealt_out_without_end_are_followed(tmp_path):
    for number in (0, 1):
        with h5py.File(tmp_path / f"scan_{number}.h5", "w", libver=LIBVER) as file:
            data = file.create_dataset("data", (3, *SHAPE), "u4", maxshape=(None, *SHAPE), chunks=(1, *SHAPE))
            for frame in range(3 - number):
                data[frame] = 1 + 2 * frame + number
    write_endless(tmp_path / "scan.nxs", ("scan_0.h5", 0, 2, 1), ("scan_1.h5", 1, 2, 1))
    assert read_directly(tmp_path / "scan.nxs") == read_through(tmp_path / "scan.nxs") == [1, 2, 3, 4, 5, 0]
    with pytest.raises(NotReady, match="maps 6 images yet"):
        read_layout(str(tmp_path / "scan.nxs")).find(6)


def test_an_image_in_several_chunks_is_stored_when_all_are(tmp_path):
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        data = file.create_dataset("entry/data/data", (3, *SHAPE), "u4", chunks=(1, 2, 1))
        data[0] = 1
        data[1, :2] = 1
    with closing(MasterImages.of(str(tmp_path / "scan.h5"))) as images:
        assert [images.is_stored(image) for image in range(3)] == [True, False, False]


def test_an_external_file_holds_the_images_that_it_is_long_enough_for(tmp_path):
    raw = tmp_path / "raw.bin"
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_dataset("entry/data/data", (3, *SHAPE), "u4", external=[(str(raw), 0, 72)])[:] = 1
    os.truncate(raw, 50)
    with closing(MasterImages.of(str(tmp_path / "scan.h5"))) as images:
        assert [images.is_stored(image) for image in range(3)] == [True, True, False]


@pytest.mark.parametrize(
    ("others", "found"),
    [
        ({"counts": 3}, "counts"),  # dxtbx reads the first
        ({"angles": 1}, "data"),  # of which dxtbx makes nothing
        ({"data_000001": 3}, "data"),
    ],
)
def test_without_a_signal_the_first_images_are_taken(scan, others, found):
    write_virtual(scan / "scan.nxs", 8, HALVES)
    with h5py.File(scan / "scan.nxs", "r+") as file:
        for name, axes in others.items():
            file[f"entry/data/{name}"] = np.ones((2, *SHAPE)[:axes])
    assert read_layout(str(scan / "scan.nxs")).dataset == f"/entry/data/{found}"


def test_the_first_nxmx_entry_counts_wherever_it_stands(scan):
    """As in dxtbx: links count like what stands in the file."""
    write_virtual(scan / "other.h5", 8, HALVES, "images/counts")
    with h5py.File(scan / "other.h5", "r+") as file:
        file["definition"] = np.bytes_("NXmx")
        file.attrs["NX_class"] = np.bytes_("NXentry")
        file["images"].attrs.update({"NX_class": np.bytes_("NXdata"), "signal": np.bytes_("counts")})
    with h5py.File(scan / "scan.nxs", "w") as file:
        for name in ("first", "second"):
            file[f"{name}/data/data"] = np.zeros((8, *SHAPE))
            file[name].attrs["NX_class"] = np.bytes_("NXentry")
        file["third"] = h5py.ExternalLink("other.h5", "/")
    assert read_directly(scan / "scan.nxs") == list(range(1, 9))


def test_a_data_file_written_again_in_its_place_is_opened_anew(scan):
    write_virtual(scan / "scan.nxs", 8, HALVES)
    write_frames(scan / "new.h5", 51, 4)
    with closing(MasterImages.of(str(scan / "scan.nxs"))) as images:
        assert read_image(images, 0) == 1
        (scan / "scan_1.h5").write_bytes((scan / "new.h5").read_bytes())
        assert read_image(images, 0) == 51


def test_a_layout_knows_the_files_that_say_it(scan):
    write_virtual(scan / "inner.h5", 8, HALVES, "data")
    write_virtual(scan / "scan_vds.h5", 8, [(slice(0, 8), "inner.h5", "data", 8, slice(0, 8))], "data")
    write_link(scan / "scan.nxs", "entry/data/data", "scan_vds.h5")
    with closing(MasterImages.of(str(scan / "scan.nxs"))) as images:
        images.resolve()
        names = {Path(file).name for file in images.layout.read_from}
        assert names == {"scan.nxs", "scan_vds.h5", "inner.h5"}
        assert images.is_current
        images.close()
        write_frames(scan / "scan_1.h5", 1, 1, dataset="more")
        assert images.is_current
        write_frames(scan / "inner.h5", 1, 1, dataset="more")
        assert not images.is_current


def test_links_that_go_in_a_circle_are_refused(tmp_path):
    write_link(tmp_path / "scan.nxs", "entry/data/data", "other.h5", "data")
    write_link(tmp_path / "other.h5", "data", "scan.nxs", "/entry/data/data")
    with pytest.raises(UnusableMaster, match="leads back to itself"):
        read_layout(str(tmp_path / "scan.nxs"))
    write_virtual(tmp_path / "snake.h5", 2, [(slice(0, 2), "snake.h5", "entry/data/data", 2, slice(0, 2))])
    with closing(MasterImages.of(str(tmp_path / "snake.h5"))) as images, pytest.raises(UnusableMaster, match="back to"):
        images.open(0)


def test_frames_of_another_size_are_refused(tmp_path):
    write_frames(tmp_path / "scan_1.h5", 1, 2)
    write_virtual(tmp_path / "scan.nxs", 2, [(slice(0, 2), "scan_1.h5", "data", 2, slice(0, 2))], shape=(3, 5))
    with closing(MasterImages.of(str(tmp_path / "scan.nxs"))) as images, pytest.raises(UnusableMaster, match="pixels"):
        images.open(0)


@pytest.mark.parametrize("prefix", ["HDF5_EXT_PREFIX", "HDF5_VDS_PREFIX"])
def test_hdf5s_own_prefixes_are_searched_first(scan, monkeypatch, prefix):
    write_frames(scan / "first/scan_1.h5", 71, 4)
    write_frames(scan / "first/scan_2.h5", 75, 4)
    for number in (1, 2):
        write_link(scan / "scan.nxs", f"entry/data/data_{number}", f"scan_{number}.h5")
    dotted = [(images, ".", f"/entry/data/data_{n}", 4, frames) for n, (images, *_, frames) in enumerate(HALVES, 1)]
    write_virtual(scan / "scan.nxs", 8, dotted if "EXT" in prefix else HALVES)
    monkeypatch.setenv(prefix, f"{scan}/nowhere:{scan}/first")
    assert read_directly(scan / "scan.nxs") == read_through(scan / "scan.nxs") == list(range(71, 79))


def test_an_absolute_name_is_also_looked_for_beside_the_master(scan):
    for number in (1, 2):
        write_link(scan / "scan.nxs", f"entry/data/data_{number}", f"/nowhere/scan_{number}.h5")
    dotted = [(images, ".", f"/entry/data/data_{n}", 4, frames) for n, (images, *_, frames) in enumerate(HALVES, 1)]
    write_virtual(scan / "scan.nxs", 8, dotted)
    assert read_directly(scan / "scan.nxs") == read_through(scan / "scan.nxs") == list(range(1, 9))
    (scan / "scan_1.h5").unlink()
    with (
        closing(MasterImages.of(str(scan / "scan.nxs"))) as images,
        pytest.raises(FileAbsent, match=r"/nowhere/scan_1"),
    ):
        images.open(0)


def test_folders_and_soft_links_on_the_way_are_followed(scan):
    """A soft link to a group that is a link to another file, in which the dataset is a soft link."""
    write_virtual(
        scan / "deep/scan_vds.h5", 8, [(images, f"../{name}", *rest) for images, name, *rest in HALVES], "a/b/c"
    )
    with h5py.File(scan / "deep/scan_vds.h5", "r+") as file:
        file["top"] = h5py.SoftLink("a")
        file["a/data"] = h5py.SoftLink("b/c")
    write_link(scan / "scan.nxs", "entry/other", "deep/scan_vds.h5", "top")
    with h5py.File(scan / "scan.nxs", "r+") as file:
        file["entry/data"] = h5py.SoftLink("/entry/other")
    assert read_directly(scan / "scan.nxs") == read_through(scan / "scan.nxs") == list(range(1, 9))


def test_no_lock_is_kept(scan):
    write_virtual(scan / "scan.nxs", 8, HALVES)
    with closing(MasterImages.of(str(scan / "scan.nxs"))) as images:
        images.open(0)
        inode = os.stat(scan / "scan_1.h5").st_ino  # noqa: PTH116
        with open("/proc/locks") as locks:  # noqa: PTH123
            assert f":{inode} " not in locks.read()


def test_a_layout_of_links_knows_its_data_files(scan):
    """Their lengths number the images."""
    write_link(scan / "scan_master.h5", "entry/data/data_000001", "scan_1.h5")
    with closing(MasterImages.of(str(scan / "scan_master.h5"))) as images:
        assert images.is_current
        write_frames(scan / "new.h5", 1, 2)
        (scan / "new.h5").replace(scan / "scan_1.h5")
        assert not images.is_current


def write_one_image_files(folder, count):
    for number in range(count):
        with h5py.File(folder / f"scan_{number}.h5", "w", libver=LIBVER) as file:
            file["data"] = np.full(SHAPE, number + 1, "u4")
    files = [(slice(n, n + 1), f"scan_{n}.h5", "data", 1, slice(0, 1)) for n in range(count)]
    write_virtual(folder / "scan.nxs", count, files)


@pytest.mark.parametrize("resolve_first", [True, False])
def test_a_file_for_each_image_is_opened_once(tmp_path, resolve_first):
    write_one_image_files(tmp_path, 9)
    opened = []

    def open_and_count(path):
        opened.append(Path(path).name)
        return open_file(path)

    with closing(MasterImages.of(str(tmp_path / "scan.nxs"), open_and_count)) as images:
        if resolve_first:
            images.resolve()
        else:
            assert [read_image(images, image) for image in range(9)] == list(range(1, 10))
        assert opened == [f"scan_{number}.h5" for number in range(9)]
        assert all(block.is_one_image for block in images.layout.blocks)
        assert images.layout.is_by_frame
        assert images.layout.mapped == (MappedRange(0, 9),)
        assert [read_image(images, image) for image in range(9)] == list(range(1, 10))


def test_a_block_is_replaced_at_a_cost_that_does_not_grow_with_their_number():
    """41 s for 4000 files of one image, when each was sorted in anew."""
    count = 4000
    blocks = tuple(ImageBlock(number, 1, LinkedFile.itself(f"/d{number}.h5"), "data") for number in range(count))
    layout = Layout("/m.h5", "/entry/data/data", blocks, SHAPE)
    start = time.process_time()
    for number in range(count):
        block = layout.find(number)
        layout = layout.with_blocks(block, [replace(block, frame=None)], {})
        assert layout.is_by_frame
        assert layout.mapped == (MappedRange(0, count),)
    assert time.process_time() - start < 5  # s; ten times what it takes
    assert layout.blocks == tuple(replace(block, frame=None) for block in blocks)


@settings(max_examples=200)
@given(st.data())
def test_blocks_stay_in_the_order_of_their_images_whatever_replaces_one(data):
    firsts = data.draw(st.lists(st.integers(0, 8), min_size=1, max_size=8).map(sorted))
    counts = [data.draw(st.integers(1, 4)) for _ in firsts]
    blocks = [
        ImageBlock(first, count, LinkedFile.itself(f"/{number}.h5"), "data", is_whole=data.draw(st.booleans()))
        for number, (first, count) in enumerate(zip(firsts, counts, strict=True))
    ]
    layout = Layout("/m.h5", "/entry/data/data", tuple(blocks), SHAPE)
    known = (layout.mapped, layout.is_by_frame, layout.end)
    assert known
    block = data.draw(st.sampled_from(blocks))
    cuts = data.draw(st.lists(st.integers(0, block.count), max_size=3).map(sorted))
    parts = [(one, other) for one, other in pairwise(cuts) if one < other]
    inner = [replace(block, first=block.first + one, count=other - one, dataset="inner") for one, other in parts]
    changed = layout.with_blocks(block, inner, {"/x.h5": None})
    expected = sorted([*(each for each in blocks if each != block), *inner], key=lambda each: each.first)
    assert [each.first for each in changed.blocks] == [each.first for each in expected]
    assert set(changed.blocks) == set(expected)
    anew = Layout("/m.h5", "/entry/data/data", changed.blocks, SHAPE)
    assert (changed.mapped, changed.is_by_frame, changed.end) == (anew.mapped, anew.is_by_frame, anew.end)
    assert changed.read_from == {"/x.h5": None}
