"""A chunk of any content is decompressed within its own bytes, into its own array, or refused."""

import ctypes
import mmap
import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.diffraction.image_files.raw import bitshuffle
from tasks.diffraction.image_files.raw.bitshuffle import ChunkDamaged

pytestmark = [
    pytest.mark.dials,
    pytest.mark.skipif(not bitshuffle.is_there(), reason="hdf5plugin has no library of the filter"),
]

GUARD = 4096


def compress(values, block=64):
    """Return a chunk as HDF5's filter makes it."""
    room = np.zeros(values.nbytes * 2 + 1024, np.uint8)
    library = bitshuffle._library()
    size = library.bshuf_compress_lz4(values.ctypes.data, room.ctypes.data, values.size, values.itemsize, block)
    return struct.pack(">QI", values.nbytes, block * values.itemsize) + room[:size].tobytes()


class BeforeAWall:
    """Memory that ends where no byte may be read: whoever reads on ends the process."""

    def __init__(self, size):
        self._room = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        self._map = mmap.mmap(-1, self._room + mmap.PAGESIZE)
        self._start = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        if ctypes.CDLL(None, use_errno=True).mprotect(ctypes.c_void_p(self._start + self._room), mmap.PAGESIZE, 0):
            raise OSError(ctypes.get_errno(), "mprotect")

    def put(self, content):
        self._map[self._room - len(content) : self._room] = content
        return memoryview(self._map)[self._room - len(content) : self._room]


WALL = BeforeAWall(64 * 1024)


def unpack_guarded(chunk, size, dtype):
    """Decompress what lies before a wall into an array between guards."""
    whole = np.full(size * np.dtype(dtype).itemsize + 2 * GUARD, 0xA5, np.uint8)
    out = whole[GUARD:-GUARD].view(dtype)
    try:
        bitshuffle.decompress(WALL.put(chunk), out)
    finally:
        assert (whole[:GUARD] == 0xA5).all()
        assert (whole[-GUARD:] == 0xA5).all()
    return out


@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "i8"])
@pytest.mark.parametrize("size", [8, 63, 64, 1000, 1003])
def test_chunk_is_what_was_compressed(dtype, size):
    values = np.random.default_rng(size).integers(0, 100, size).astype(dtype)
    assert np.array_equal(unpack_guarded(compress(values), size, dtype), values)


changes = st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=8)


@given(changes=changes, cut=st.integers(0, 60), seed=st.integers(0, 3), head_only=st.booleans())
def test_nothing_is_read_or_written_beyond_what_belongs_to_a_damaged_chunk(changes, cut, seed, head_only):
    values = np.random.default_rng(seed).poisson(0.1 + 3 * seed, 1003).astype(np.uint16)
    chunk = bytearray(compress(values))
    for at, byte in changes:
        chunk[at % (24 if head_only else len(chunk))] = byte
    with suppress(ChunkDamaged):
        unpack_guarded(bytes(chunk[: len(chunk) - cut]), values.size, np.uint16)


@given(chunk=st.binary(max_size=300), size=st.integers(1, 200))
def test_noise_is_refused(chunk, size):
    with pytest.raises(ChunkDamaged):
        unpack_guarded(chunk, size, np.uint32)
