"""Counts of whatever type of number have DIALS's numbers, or are refused as DIALS refuses them."""

import h5py
import hdf5plugin
import numpy as np
import pytest

from tasks.diffraction.errors import ImageUnreadable
from tasks.diffraction.requests import ImageRequest
from tests.support.asking_dials import ask_dials
from tests.support.image_files import make_cbf

pytestmark = pytest.mark.dials

IMAGE = (1, 1)


@pytest.fixture
def require_dials_numbers(analyser):
    def require_dials_numbers(file, scan_range=IMAGE):
        analysis = analyser.examine(ImageRequest(str(file), analyser.options, scan_range))
        wanted = ask_dials(file, scan_range, threshold_algorithm=analyser.options.threshold_algorithm)
        assert analysis.statistics.as_payload() == wanted
        assert wanted["n_spots_total"] > 20
        return analysis

    return require_dials_numbers


@pytest.fixture
def refuse(analyser):
    """Require that DIALS fails at a master, and that it's refused."""

    def refuse(master, reason):
        with pytest.raises((AssertionError, OverflowError, TypeError)):
            ask_dials(master, IMAGE)
        for by_dials in (None, "it's the test"):
            with pytest.raises(ImageUnreadable, match=rf"image 1 of {master} {reason}"):
                analyser.examine(ImageRequest(master, analyser.options, IMAGE, by_dials=by_dials))

    return refuse


@pytest.fixture
def map_as(make_master):
    """Have a master's virtual dataset give its images, which are stored as 16 bits, another type of HDF5's."""

    def map_as(hdf5_type):
        master = make_master()
        with h5py.File(master, "r+") as file:
            group, mapped = file["entry/data"], file["entry/data/data"]
            shape, source = mapped.shape, mapped.virtual_sources()[0]
            properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            space = h5py.h5s.create_simple(shape)
            properties.set_virtual(space, source.file_name.encode(), source.dset_name.encode(), space)
            attributes = dict(mapped.attrs)
            del group["data"]
            h5py.h5d.create(group.id, b"data", hdf5_type, space, properties)
            group["data"].attrs.update(attributes)
        return master

    return map_as


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f4", "f8", ">f8", "f16"])
def test_floats(require_dials_numbers, make_master, rendered, dtype):
    """Those of 64 bits are made such of 32 by dxtbx, by the one order of bytes, but not by the other."""
    counts = np.minimum(rendered, 2000).astype(dtype) * np.dtype(dtype).type(1.1)
    if counts.itemsize > 2:
        counts[:, 300:303, 200:203] = 2**25 + 1
    analysis = require_dials_numbers(make_master(counts=counts, saturation_value=2**26))
    assert analysis.by_dials == f"its counts are no integers, but of type {np.dtype(dtype)}"


@pytest.mark.parametrize("dtype", [">f8", "f8", ">f4"])
def test_floats_by_the_master_s_word_alone(require_dials_numbers, map_as, dtype):
    assert "no integers" in require_dials_numbers(map_as(h5py.h5t.py_create(np.dtype(dtype)))).by_dials


def test_masked_values_among_floats(require_dials_numbers, make_master, rendered):
    counts = rendered.astype("f4")
    counts[:, ::50, ::50] = 65535
    counts[:, 1::50, 1::50] = 65534
    require_dials_numbers(make_master(counts=counts, saturation_value=100_000))


def test_masked_values_that_become_negative_below_the_trusted_ones(require_dials_numbers, make_master, rendered):
    """An underload of -1 has dxtbx trust -1, and not -2, which it makes of the second highest value."""
    counts = rendered.copy()
    counts[:, ::50, ::50] = 65534
    assert require_dials_numbers(make_master("untrusted", counts=counts, underload_value=-1)).by_dials is None
    counts[:, 1::50, 1::50] = 65535
    trusted = require_dials_numbers(make_master("trusted", counts=counts, underload_value=-1))
    assert trusted.by_dials == "negative counts are trusted"


def test_truth_values_are_refused(refuse, make_master, rendered):
    refuse(make_master(counts=rendered > 3), "has counts of type bool; DIALS reads integers")


@pytest.mark.parametrize("bit_depth", [33, 64, -1, -5])
def test_bit_depths_that_dials_does_not_read_are_refused(refuse, make_master, bit_depth):
    refuse(make_master(bit_depth_readout=bit_depth), f"has counts of {bit_depth} bits, its bit_depth_readout says")


def partial(dtype, bits, offset):
    partial = h5py.h5t.py_create(np.dtype(dtype)).copy()
    partial.set_precision(bits)
    partial.set_offset(offset)
    return partial


@pytest.mark.parametrize(("dtype", "bits", "offset"), [("u2", 12, 4), ("u2", 12, 0), ("i2", 12, 0), ("u4", 20, 5)])
def test_integers_that_do_not_fill_their_bytes(require_dials_numbers, make_master, rendered, dtype, bits, offset):
    master = make_master()
    counts = np.minimum(rendered, 2000).astype(dtype)
    if dtype == "i2":
        counts[:, 20:23, 20:23] = -1  # whose other bits are zeros, as stored
    with h5py.File(master, "r+") as file:
        group = file["entry/data"]
        attributes = dict(group["data"].attrs)
        del group["data"]
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((1, *counts.shape[1:]))
        properties.set_filter(hdf5plugin.BSHUF_ID, 0, (0, 2))
        space = h5py.h5s.create_simple(counts.shape)
        dataset = h5py.h5d.create(group.id, b"data", partial(dtype, bits, offset), space, properties)
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, counts)
        group["data"].attrs.update(attributes)
        assert np.array_equal(group["data"][0], counts[0])
    assert require_dials_numbers(master).by_dials is None


def test_integers_of_fewer_bits_by_the_master_s_word_alone(require_dials_numbers, map_as, rendered):
    """HDF5 clips what is more than 5 bits hold."""
    assert rendered[0].max() > 31
    analysis = require_dials_numbers(map_as(partial("u2", 5, 0)))
    assert analysis.by_dials == "HDF5 converts its numbers: the master's have fewer bits than their bytes"


def test_integers_with_names_are_integers(require_dials_numbers, make_master, rendered):
    dtype = h5py.enum_dtype({"MASKED": 65535}, "u2")
    assert require_dials_numbers(make_master(counts=rendered.astype(dtype))).by_dials is None


def test_longest_steps_of_a_cbf(require_dials_numbers, rendered, tmp_path):
    """Of 2^31 downwards, by which CBF in general announces one of 64 bits; to dxtbx it's one of 32."""
    from dxtbx.ext import compress
    from scitbx.array_family import flex

    counts = rendered[0].astype(np.int32)
    counts[0, :2] = -(2**31), 0
    counts[100, 100:102] = 2**31 - 1, -1
    counts[200, 200:204] = -(2**31)
    file = tmp_path / "a_0001.cbf"
    file.write_bytes(make_cbf(pixels=counts, compress=lambda pixels: compress(flex.int(pixels))))
    assert file.read_bytes().count(b"\x80\x00\x80\x00\x00\x00\x80") == 3
    assert require_dials_numbers(file, None).by_dials is None
