"""Raw counts are those of dxtbx, whatever form they are stored in; what is damaged is refused, by its name."""

import os
import shutil

import h5py
import hdf5plugin
import numpy as np
import pytest

from blocks.errors import PlazaError
from tests.support.image_files import MINI_HEADER, counts, make_cbf, make_smv

pytestmark = pytest.mark.dials

IMAGES = 6
BITSHUFFLE = {"chunk": (1,), **hdf5plugin.Bitshuffle()}


def read(file, index=0):
    """Return the raw panels, copied, and what says which of their counts are trusted."""
    from tasks.diffraction.image_files.data_sets import DataSets

    data_sets = DataSets()
    with data_sets.using(str(file)) as data_set:
        frame = data_set.read_raw(index)
        panels = [panel.copy() for panel in frame.panels]
    data_sets.forget(str(file))
    return panels, [frame.trusted_counts(number) for number in range(len(panels))]


def require_as_dxtbx(file, indices=(0,)):
    """Make sure that counts and trust are dxtbx's own."""
    from dxtbx import flumpy
    from dxtbx.model.experiment_list import ExperimentListFactory

    from tasks.diffraction.image_files.opening import _forget_last_file

    for index in indices:
        panels, trusted = read(file, index)
        _forget_last_file()
        imageset = ExperimentListFactory.from_filenames([str(file)])[0].imageset
        theirs = imageset.get_raw_data(index)
        for ours, (lowest, highest), panel, model in zip(panels, trusted, theirs, imageset.get_detector(), strict=True):
            assert ours.flags.c_contiguous
            shown = (ours >= lowest) & (ours <= highest)
            assert np.array_equal(shown, flumpy.to_numpy(model.get_trusted_range_mask(panel)))
            assert np.array_equal(ours[shown], flumpy.to_numpy(panel)[shown])
            assert shown.any()
    return panels


def test_simulated_images_are_those_of_dxtbx(pictures):
    for file in (*pictures.rotation_cbfs, *pictures.grid_cbfs):
        assert require_as_dxtbx(file)[0].dtype == np.int32
    for master in (pictures.rotation_master, pictures.grid_master):
        assert require_as_dxtbx(master, range(IMAGES))[0].dtype == np.uint16


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("pattern", "count"), [("l_cysteine/*_0000[19].cbf.gz", 8), ("thaumatin_grid/*_000[14].cbf.bz2", 2)]
)
def test_real_cbfs_are_those_of_dxtbx(pattern, count, real_data):
    files = sorted(real_data.glob(pattern))
    assert len(files) == count
    for file in files:
        require_as_dxtbx(file)


@pytest.mark.real_data
@pytest.mark.slow
def test_all_real_images_are_those_of_dxtbx(real_data):
    for file in sorted(real_data.glob("*/*.cbf.*")):
        require_as_dxtbx(file)
    require_as_dxtbx(real_data / "therm" / "Therm_6_2.nxs", range(4))


@pytest.fixture
def master(pictures, tmp_path):
    """A master with data files of its own."""
    folder = tmp_path / "scan"
    shutil.copytree(pictures.rotation_master.rpartition("/")[0], folder)
    return folder / pictures.rotation_master.rpartition("/")[2]


@pytest.fixture
def rewrite(master):
    """Have the images stored in another form."""

    def rewrite(change=lambda images: images, chunk=(1,), **options):
        [file] = master.parent.glob("*.h5")
        with h5py.File(file, "r+") as data_file:
            images = change(data_file["data"][:])
            del data_file["data"]
            shape = None if chunk is None else (*chunk, *images.shape[len(chunk) :])
            data_file.create_dataset("data", data=images, chunks=shape, **options)
        return master

    return rewrite


FORMS = {
    "bitshuffle-LZ4": BITSHUFFLE,
    "small blocks": {**BITSHUFFLE, **hdf5plugin.Bitshuffle(nelems=64)},
    "bitshuffle alone": {**hdf5plugin.Bitshuffle(cname="none")},
    "bitshuffle and zstd": {**hdf5plugin.Bitshuffle(cname="zstd")},
    "LZ4": {**hdf5plugin.LZ4()},
    "gzip": {"compression": "gzip"},
    "shuffled gzip": {"compression": "gzip", "shuffle": True},
    "uncompressed chunks": {},
    "contiguous": {"chunk": None},
    "two images a chunk": {**hdf5plugin.Bitshuffle(), "chunk": (2,)},
    "a third of an image a chunk": {**hdf5plugin.Bitshuffle(), "chunk": (1, 207)},
    "8 bits": {**hdf5plugin.Bitshuffle(), "change": lambda images: images.astype("u1")},
    "signed 16 bits": {**hdf5plugin.Bitshuffle(), "change": lambda images: images.astype("i2")},
    "32 bits": {**hdf5plugin.Bitshuffle(), "change": lambda images: images.astype("u4")},
    "signed 32 bits": {**hdf5plugin.Bitshuffle(), "change": lambda images: images.astype("i4") - 1},
    "64 bits": {**hdf5plugin.Bitshuffle(), "change": lambda images: images.astype("i8")},
    "unsigned 64 bits": {"compression": "gzip", "change": lambda images: images.astype("u8")},
    "big-endian": {**hdf5plugin.Bitshuffle(), "change": lambda images: images.astype(">u2")},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_images_are_those_of_dxtbx_in_whatever_form_they_are_stored(form, rewrite):
    require_as_dxtbx(rewrite(**form), (0, 3))


@pytest.mark.parametrize("form", ["bitshuffle-LZ4", "32 bits"])
def test_images_are_read_without_the_filter_library(form, rewrite, monkeypatch):
    from tasks.diffraction.image_files.raw import bitshuffle

    monkeypatch.setattr(bitshuffle, "_library", lambda: None)
    require_as_dxtbx(rewrite(**FORMS[form]))


def sprinkle(dtype, *values):
    """Return a change that has values everywhere in the image, and makes it of a type."""

    def change(images):
        images = images.astype(dtype)
        flat = images.reshape(-1)
        for number, value in enumerate(values):
            flat[number::997] = value
        return images

    return change


@pytest.mark.parametrize(
    ("dtype", "values", "bit_depth", "trusted"),
    [
        ("u2", (65535, 65534, 65533), 16, (-1, 65536)),
        ("u2", (65535, 65534, 65533, 0), 32, (-1, 70000)),
        ("u1", (255, 254, 253), 8, (-1, 300)),
        ("u4", (65535, 65534, 65533, 65536, 100_000), 16, (-1, 1_000_000)),  # what is above the masked ones is trusted
        ("u4", (2**32 - 1, 2**32 - 2, 2**31, 2**31 - 1, 2**31 - 2, 2**31 - 3), 32, (-1, 2**31 - 1)),
        ("u4", (2**32 - 1, 2**31 + 5, 7), None, (-1, 1000)),
        ("i4", (-1, -2, -3, 2**31 - 1), 32, (-3, 2**31 - 1)),
        ("u4", (2**32 - 1, 2**32 - 3), 32, (-5, 1000)),  # dxtbx makes them negative, and trusts them
        ("i8", (2**32 + 5, -1, 65535, 65534), 16, (-1, 65535)),
    ],
)
def test_masked_values_are_never_trusted_and_others_as_by_dxtbx(dtype, values, bit_depth, trusted, rewrite):
    master = rewrite(sprinkle(dtype, *values), **hdf5plugin.Bitshuffle())
    with h5py.File(master, "r+") as file:
        detector = file["entry/instrument/detector"]
        for name, value in (
            ("bit_depth_readout", bit_depth),
            ("underload_value", trusted[0] + 1),
            ("saturation_value", trusted[1]),
        ):
            detector.pop(name, None)
            if value is not None:
                detector[name] = value
        # The type of what is mapped: else HDF5 clips values on their way through the master
        shape, source = file["entry/data/data"].shape, file["entry/data/data"].virtual_sources()[0]
        layout = h5py.VirtualLayout(shape, dtype)
        layout[:] = h5py.VirtualSource(source.file_name, source.dset_name, shape, dtype)
        del file["entry/data/data"]
        file["entry/data"].create_virtual_dataset("data", layout)
    require_as_dxtbx(master)


def test_floats_are_left_to_dxtbx(rewrite):
    from tasks.diffraction.image_files.raw.frame import NotRaw

    master = rewrite(lambda images: images.astype("f4"))
    with h5py.File(master, "r+") as file:
        shape, source = file["entry/data/data"].shape, file["entry/data/data"].virtual_sources()[0]
        layout = h5py.VirtualLayout(shape, "f4")
        layout[:] = h5py.VirtualSource(source.file_name, source.dset_name, shape, "f4")
        del file["entry/data/data"]
        file["entry/data"].create_virtual_dataset("data", layout)
    with pytest.raises(NotRaw, match="no integers, but of type float32"):
        read(master)


def put_chunk(master, frame, chunk, mask=0):
    [path] = master.parent.glob("*.h5")
    with h5py.File(path, "r+") as file:
        file["data"].id.write_direct_chunk((frame, 0, 0), chunk, mask)


def get_chunk(master, frame):
    [path] = master.parent.glob("*.h5")
    with h5py.File(path, "r") as file:
        return file["data"].id.read_direct_chunk((frame, 0, 0))[1]


def first_block_of(length):
    return lambda chunk: chunk[:12] + length.to_bytes(4, "big") + chunk[16:]


DAMAGES = {
    "it ends early": (lambda chunk: chunk[:-100], "before its last block|has .* bytes, and by its blocks' lengths"),
    "no more than a start": (lambda chunk: chunk[:7], "it ends after 7 bytes"),
    "another size": (lambda chunk: (2**40).to_bytes(8, "big") + chunk[8:], "it says that it holds 1,099,511,627,776"),
    "no blocks": (lambda chunk: chunk[:8] + bytes(4) + chunk[12:], "its blocks have 0 bytes"),
    "odd blocks": (lambda chunk: chunk[:8] + b"\0\0\0\x21" + chunk[12:], "its blocks have 33 bytes"),
    "a block without end": (first_block_of(2**32 - 1), "before its last block"),
    "a block that's too short": (first_block_of(3), "before its last block|by its blocks' lengths"),
    "noise": (lambda chunk: chunk[:16] + b"\xff" * 40 + chunk[56:], "bitshuffle's error"),
}


@pytest.mark.parametrize(("damage", "complaint"), DAMAGES.values(), ids=DAMAGES)
def test_damaged_chunk_costs_its_image_alone(damage, complaint, rewrite):
    from tasks.diffraction.errors import ImageUnreadable
    from tasks.diffraction.image_files.hdf5_frames import FrameMissing

    master = rewrite(**BITSHUFFLE)
    put_chunk(master, 2, damage(get_chunk(master, 2)))
    with pytest.raises(FrameMissing, match=rf"image 3 of {master} can't be read yet.*({complaint})"):
        read(master, 2)
    [data_file] = master.parent.glob("*.h5")
    os.utime(data_file, (1_700_000_000, 1_700_000_000))
    with pytest.raises(ImageUnreadable, match=rf"image 3 of {master}: .*({complaint}).*nothing has been written"):
        read(master, 2)
    require_as_dxtbx(master, (1, 3))


def test_chunk_that_a_writer_left_uncompressed_is_read(rewrite):
    from tasks.diffraction.image_files.hdf5_frames import FrameMissing

    master = rewrite(**BITSHUFFLE)
    image = read(master)[0][0][::-1].copy()
    put_chunk(master, 0, image.tobytes(), mask=1)
    assert np.array_equal(read(master)[0][0], image)
    put_chunk(master, 0, image.tobytes()[:-2], mask=1)
    with pytest.raises(FrameMissing, match="bytes, uncompressed; expected"):
        read(master)


@pytest.mark.parametrize("way", ["raw", "dxtbx"])
def test_compression_that_nobody_knows_is_refused_at_once(way, master):
    from tasks.diffraction.errors import ImageUnreadable
    from tasks.diffraction.image_files.data_sets import DataSets

    [path] = master.parent.glob("*.h5")
    with h5py.File(path, "r+") as file:
        images = file["data"][:]
        del file["data"]
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((1, *images.shape[1:]))
        properties.set_filter(32999, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple(images.shape)
        data = h5py.h5d.create(file.id, b"data", h5py.h5t.NATIVE_UINT16, space, properties)
        for number, image in enumerate(images):
            data.write_direct_chunk((number, 0, 0), image.tobytes())
    with (
        pytest.raises(ImageUnreadable, match=rf"image 2 of {master}: {path} is compressed by HDF5's filter 32999"),
        DataSets().using(str(master)) as data_set,
    ):
        data_set.read_raw(1) if way == "raw" else data_set.imageset.get_raw_data(1)


def test_frames_of_another_size_than_the_detector_are_refused(rewrite):
    from tasks.diffraction.errors import ImageUnreadable

    master = rewrite()
    with h5py.File(master, "r+") as file:
        file["entry/instrument/detector/module/data_size"][:] = 500, 487
    read(master)  # a module may be a part of a frame
    with h5py.File(master, "r+") as file:
        file["entry/instrument/detector/module/data_size"][:] = 700, 487
    with pytest.raises(ImageUnreadable, match=r"of its pixel mask panel 0 has 619 × 487 .* it has 700 × 487"):
        read(master)
    with h5py.File(master, "r+") as file:
        del file["entry/instrument/detector/pixel_mask"]
    with pytest.raises(ImageUnreadable, match=r"image 1 of .* has panels of \(\(619, 487\),\) .*\(\(700, 487\),\)"):
        read(master)


@pytest.mark.parametrize(
    ("shape", "fault"),
    [
        ((600, 487), r"of its pixel mask panel 0 has 600 × 487 pixels \(slow × fast\); .* it has 619 × 487"),
        ((619, 480), r"of its pixel mask panel 0 has 619 × 480 pixels"),
        ((619, 500), "its pixel mask is wider than its panels"),
        ((700, 487), None),
    ],
)
def test_mask_of_another_size_than_the_detector_is_named(shape, fault, master, caplog):
    """DIALS says of a smaller one that an assertion has failed; of a longer one it takes the detector's part."""
    from tasks.diffraction.analyser import Analyser
    from tasks.diffraction.errors import ImageUnreadable
    from tasks.diffraction.requests import AnalysisParameters
    from tests.support.asking_dials import ask_dials

    with h5py.File(master, "r+") as file:
        detector = file["entry/instrument/detector"]
        del detector["pixel_mask"]
        detector["pixel_mask"] = np.zeros(shape, "u4")
    os.utime(master, (1_700_000_000, 1_700_000_000))
    analyse = Analyser(AnalysisParameters().options).analyse
    if fault is None:
        assert analyse(str(master), (1, 1)).as_payload() == ask_dials(master, (1, 1))
    else:
        with pytest.raises(ImageUnreadable, match=f"DIALS can't read {master}: {fault}"):
            analyse(str(master), (1, 1))
        with pytest.raises((RuntimeError, ValueError)):
            ask_dials(master, (1, 1))
    assert not caplog.records


@pytest.mark.parametrize("image", [0, 9])
def test_image_that_the_master_does_not_have_is_refused(image, pictures):
    from tasks.diffraction.errors import ImageUnreadable

    with pytest.raises(ImageUnreadable, match=f"has images 1 to 6; asked for was {image}"):
        read(pictures.rotation_master, image - 1)


def with_line(name, value):
    old = next(line for line in make_cbf().split(b"\r\n") if line.startswith(name))
    return make_cbf(digest=False).replace(old, name + b": " + value)


CBFS_LEFT_TO_DXTBX = {
    "other type": (with_line(b"X-Binary-Element-Type", b'"signed 16-bit integer"'), "Element-Type is 'signed 16-bit"),
    "other order": (with_line(b"X-Binary-Element-Byte-Order", b"BIG_ENDIAN"), "Byte-Order is 'BIG_ENDIAN'"),
    "other compression": (make_cbf().replace(b"x-CBF_BYTE_OFFSET", b"x-CBF_NONE"), "compressed by 'x-CBF_NONE'"),
}


@pytest.mark.parametrize(("content", "reason"), CBFS_LEFT_TO_DXTBX.values(), ids=CBFS_LEFT_TO_DXTBX)
def test_cbf_of_another_kind_is_left_to_dxtbx(content, reason, tmp_path):
    from tasks.diffraction.image_files.raw.frame import NotRaw

    (tmp_path / "a_1.cbf").write_bytes(content)
    with pytest.raises(NotRaw, match=reason):
        read(tmp_path / "a_1.cbf")


def test_other_formats_are_left_to_dxtbx(tmp_path):
    from tasks.diffraction.image_files.raw.frame import NotRaw

    (tmp_path / "a_1.img").write_bytes(make_smv())
    with pytest.raises(NotRaw, match=r"only FormatSMVADSC\w* reads it"):
        read(tmp_path / "a_1.img")


def test_data_that_are_not_as_many_pixels_are_refused(tmp_path):
    from tasks.diffraction.errors import ImageUnreadable

    (tmp_path / "a_1.cbf").write_bytes(make_cbf(digest=False).replace(b"\x01\x00\x01", b"\x80\x00\x01"))
    with pytest.raises(ImageUnreadable, match=r"a_1\.cbf.* its data end at pixel"):
        read(tmp_path / "a_1.cbf")


def test_what_follows_the_last_pixel_is_left_alone_as_by_dxtbx(tmp_path):
    steps = np.diff(counts().ravel(), prepend=0)
    (tmp_path / "a_1.cbf").write_bytes(make_long(np.append(steps, [1, 1, 300])))
    require_as_dxtbx(tmp_path / "a_1.cbf")


def test_counts_of_all_steps_are_those_of_dxtbx(tmp_path):
    """Of one, two and four bytes, up and down."""
    pixels = counts()
    steps = np.diff(pixels.ravel(), prepend=0)
    steps[5000], steps[5001], steps[6000], steps[6001] = 30_000, -30_000, 70_000, -70_000
    (tmp_path / "a_1.cbf").write_bytes(make_long(steps))
    [ours] = require_as_dxtbx(tmp_path / "a_1.cbf")
    assert ours.max() > 70_000


def make_long(steps):
    """Return a CBF of some steps, of which a few have more than a byte."""
    data = bytearray()
    for step in steps.tolist():
        if -128 < step < 128:
            data += step.to_bytes(1, "little", signed=True)
        elif -32768 < step < 32768:
            data += b"\x80" + step.to_bytes(2, "little", signed=True)
        else:
            data += b"\x80\x00\x80" + step.to_bytes(4, "little", signed=True)
    content = make_cbf(MINI_HEADER, digest=False)
    start = content.index(b"\x0c\x1a\x04\xd5") + 4
    size = counts().size
    head = content[:start].replace(f"X-Binary-Size: {size}".encode(), f"X-Binary-Size: {len(data)}".encode())
    return head + bytes(data) + content[start + size :]


def test_image_is_read_once_for_both_that_want_it_and_anew_when_it_is_written(tmp_path, monkeypatch):
    from tasks.diffraction.image_files import data_sets, opening

    read_files = []

    def count(file):
        read_files.append(file)
        return opening.open_data_set(file)

    monkeypatch.setattr(data_sets, "open_data_set", count)
    first, second = (tmp_path / name for name in ("a_1.cbf", "a_2.cbf"))
    for file in (first, second):
        file.write_bytes(make_cbf())
    process = data_sets.DataSets()

    def look(file):
        with process.using(str(file)) as data_set:
            return data_set.read_raw().panels[0].copy()

    assert np.array_equal(look(first), look(first))
    assert len(read_files) == 1
    look(second)
    look(first)
    assert len(read_files) == 3
    first.write_bytes(make_cbf(pixels=counts() + 1))
    assert np.array_equal(look(first), counts() + 1)
    first.unlink()
    with pytest.raises(PlazaError, match="does not exist"):
        look(first)
    with pytest.raises(ZeroDivisionError), process.using(str(second)):
        1 / 0  # noqa: B018 - whatever it was, it may have been the image's fault
    look(second)
    assert read_files.count(str(second)) == 3
