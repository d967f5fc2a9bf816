"""Read a frame of a dataset into an array that is there already: by its chunk where that's the whole frame."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from tasks.diffraction.image_files.raw import bitshuffle
from tasks.diffraction.image_files.raw.bitshuffle import ChunkDamaged
from tasks.nexus.storage import fills_its_bytes


def read_frame(dataset: h5py.Dataset, frame: int | None, out: np.ndarray[Any, Any]) -> None:
    """Read a frame that is stored.

    Parameters
    ----------
    dataset
        shape (frames, slow, fast), or (slow, fast) of a single one; it isn't virtual.
    frame
        Its place along the first axis; None: it's the whole dataset.
    out
        Where it goes: (slow, fast), C-contiguous, of the type that its counts are to have.

    Raises
    ------
    ChunkDamaged
        It isn't what its dataset says.
    OSError
        HDF5 can't read it, or has no filter for its compression.
    """
    corner = (0, 0) if frame is None else (frame, 0, 0)
    if _is_bitshuffled_by_frame(dataset, out):
        mask, chunk = dataset.id.read_direct_chunk(corner)
        _unpack(chunk, out, is_compressed=not mask)
    else:
        dataset.read_direct(out, () if frame is None else np.s_[frame])


def _is_bitshuffled_by_frame(dataset: h5py.Dataset, out: np.ndarray[Any, Any]) -> bool:
    """Tell whether each chunk is a whole frame, of the type that's asked for, compressed by bitshuffle-LZ4 alone."""
    chunks = dataset.chunks
    if chunks is None or chunks != (1,) * (len(chunks) - out.ndim) + out.shape or not _is_stored_as(dataset, out.dtype):
        return False
    filters = dataset.id.get_create_plist()
    if filters.get_nfilters() != 1 or not bitshuffle.is_there():
        return False
    code, _, parameters, _ = filters.get_filter(0)
    return bool(code == bitshuffle.FILTER and parameters[2] == out.itemsize and parameters[4:5] == (bitshuffle.LZ4,))


def _is_stored_as(dataset: h5py.Dataset, dtype: np.dtype[Any]) -> bool:
    """Tell whether a chunk's bytes are numbers of this type."""
    return dataset.dtype == dtype and fills_its_bytes(dataset)


def _unpack(chunk: bytes, out: np.ndarray[Any, Any], is_compressed: bool) -> None:
    if is_compressed:
        bitshuffle.decompress(chunk, out)
        return
    if len(chunk) != out.nbytes:  # a writer may leave out a filter that doesn't pay
        raise ChunkDamaged(f"it has {len(chunk):,} bytes, uncompressed; expected {out.nbytes:,}")
    out[...] = np.frombuffer(chunk, out.dtype).reshape(out.shape)
