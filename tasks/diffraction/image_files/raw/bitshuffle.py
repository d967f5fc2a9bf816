"""Decompress bitshuffle-LZ4 by the library that hdf5plugin brings, into an array that is there already.

HDF5's filter pipeline allocates, copies and frees a frame twice on its way. A chunk of the filter begins with the bytes
that it holds (8 bytes, big-endian) and those of a block (4 bytes); each block is its compressed length (4 bytes) and
so many bytes of LZ4; values that don't make eight more follow as they are.
"""

from __future__ import annotations

import ctypes
import struct
from functools import cache
from pathlib import Path
from typing import Any

import hdf5plugin
import numpy as np

FILTER = 32008
LZ4 = 2  # the filter's fifth parameter
_HEAD = struct.Struct(">QI")
_LENGTH = struct.Struct(">I")
_GROUP = 8  # values that are shuffled together
_LZ4_ERROR = -1000  # from here on down: an error of LZ4, not of what bitshuffle has made of it


class ChunkDamaged(ValueError):
    """A chunk doesn't hold what its dataset says."""


def decompress(chunk: bytes, out: np.ndarray[Any, Any]) -> None:
    """Decompress a chunk.

    Parameters
    ----------
    out
        Where its values go: C-contiguous, of as many as there should be.

    Raises
    ------
    ChunkDamaged
        It holds another number of values, or what it holds is none.
    """
    library = _library()
    assert library is not None, "asked for without a library"
    assert out.flags.c_contiguous
    block = _check_blocks(chunk, out)
    source = np.frombuffer(chunk, np.uint8)
    used = library.bshuf_decompress_lz4(source.ctypes.data + _HEAD.size, out.ctypes.data, out.size, out.itemsize, block)
    if used != len(chunk) - _HEAD.size:
        raise ChunkDamaged(f"its compressed data are damaged (bitshuffle's error {used})")


def _check_blocks(chunk: bytes, out: np.ndarray[Any, Any]) -> int:
    """Return how many values a block has, once all lengths in a chunk are known to end within it.

    The library knows where the array ends, and believes what a chunk says of its blocks' lengths.
    """
    try:
        size, block_bytes = _HEAD.unpack_from(chunk)
        if size != out.nbytes:
            raise ChunkDamaged(f"it says that it holds {size:,} bytes; expected {out.nbytes:,}")
        block, odd = divmod(block_bytes, out.itemsize)
        if odd or block == 0 or block % _GROUP:
            raise ChunkDamaged(f"its blocks have {block_bytes:,} bytes; expected a multiple of {_GROUP * out.itemsize}")
        rest = out.size % _GROUP
        at, blocks = _HEAD.size, -(-(out.size - rest) // block)
        for _ in range(blocks):
            (length,) = _LENGTH.unpack_from(chunk, at)
            at += _LENGTH.size + int(length)
    except struct.error:
        raise ChunkDamaged(f"it ends after {len(chunk):,} bytes, before its last block") from None
    if at + rest * out.itemsize != len(chunk):
        raise ChunkDamaged(f"it has {len(chunk):,} bytes, and by its blocks' lengths {at + rest * out.itemsize:,}")
    return int(block)


def is_there() -> bool:
    """Tell whether there's a library that may be trusted with a damaged chunk."""
    return _library() is not None


@cache
def _library() -> Any:
    """Return hdf5plugin's library of the filter; None where it has none, as in some distributions' builds."""
    for path in sorted(Path(hdf5plugin.PLUGIN_PATH).glob("*h5bshuf.*")):
        try:
            library = ctypes.CDLL(str(path))
            for function in (library.bshuf_decompress_lz4, library.bshuf_compress_lz4):
                function.restype = ctypes.c_int64
                function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_size_t] * 3]
        except (OSError, AttributeError):
            continue
        if _minds_lengths(library):
            return library
    return None


def _minds_lengths(library: Any) -> bool:
    """Tell whether LZ4 is told where a block ends: bitshuffle may be built with a version that reads on and on."""
    values = np.arange(64, dtype=np.uint16)
    packed, back = np.zeros(1024, np.uint8), np.empty_like(values)
    library.bshuf_compress_lz4(values.ctypes.data, packed.ctypes.data, values.size, values.itemsize, values.size)
    (length,) = _LENGTH.unpack(packed[:4].tobytes())
    packed[:4] = np.frombuffer(_LENGTH.pack(length - 1), np.uint8)
    used = library.bshuf_decompress_lz4(packed.ctypes.data, back.ctypes.data, back.size, back.itemsize, back.size)
    return bool(used < _LZ4_ERROR)
