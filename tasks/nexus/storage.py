"""Whether frames are stored, and how: a dataset's shape may be full from the start, and what isn't written is zeros."""

from __future__ import annotations

import itertools
import math
import os
from typing import TYPE_CHECKING

from tasks.nexus.layout import Region
from tasks.nexus.links import LinkedFile

if TYPE_CHECKING:
    import h5py


def is_stored(dataset: h5py.Dataset, frame: int | None) -> bool:
    """Tell whether a frame is stored, all of it; None: whether the whole dataset is."""
    shape = dataset.id.shape
    if frame is None:
        return is_filled(dataset)
    if not shape or frame >= shape[0]:
        return False
    if dataset.chunks is None:
        return _is_space_there(dataset, (frame + 1) * math.prod(shape[1:]))
    # HDF5 reserves a chunk's place when it's written: of one that isn't, the size is 0.
    first = frame // dataset.chunks[0] * dataset.chunks[0]
    sizes = zip(shape[1:], dataset.chunks[1:], strict=True)
    corners = itertools.product(*(range(0, size, step) for size, step in sizes))
    return all(dataset.id.get_chunk_info_by_coord((first, *corner)).size for corner in corners)


def is_region_stored(dataset: h5py.Dataset, region: Region) -> bool:
    """Tell whether a run of values is stored, with all that is in the smallest box around them."""
    if dataset.chunks is None:
        return is_filled(dataset)
    start = region.start or (0,) * len(dataset.shape)
    shape = region.shape or dataset.shape
    if region.first + region.count > math.prod(shape):
        return False
    low, high = _place_of(region.first, shape), _place_of(region.first + region.count - 1, shape)
    # Behind the first axis on which the ends differ, the box has all there is.
    split = next((axis for axis, (one, other) in enumerate(zip(low, high, strict=True)) if one != other), len(shape))
    low = (*low[: split + 1], *(0 for _ in shape[split + 1 :]))
    high = (*high[: split + 1], *(size - 1 for size in shape[split + 1 :]))
    if any(first + last >= size for first, last, size in zip(start, high, dataset.shape, strict=True)):
        return False
    corners = itertools.product(
        *(
            range((offset + first) // step * step, offset + last + 1, step)
            for offset, first, last, step in zip(start, low, high, dataset.chunks, strict=True)
        )
    )
    return all(dataset.id.get_chunk_info_by_coord(corner).size for corner in corners)


def _place_of(number: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return where a value is in an array.

    >>> _place_of(13, (2, 3, 4))
    (1, 0, 1)
    """
    place: list[int] = []
    for size in reversed(shape):
        number, at = divmod(number, size)
        place.append(at)
    return tuple(reversed(place))


def is_filled(dataset: h5py.Dataset) -> bool:
    """Tell whether all of a dataset is stored."""
    shape = dataset.id.shape
    if dataset.chunks is None:
        return _is_space_there(dataset, math.prod(shape))
    chunks = math.prod(-(-size // step) for size, step in zip(shape, dataset.chunks, strict=True))
    return bool(dataset.id.get_num_chunks() == chunks)


def fills_its_bytes(dataset: h5py.Dataset) -> bool:
    """Tell whether numbers are stored as numpy has them; HDF5's may have fewer bits than their bytes, anywhere."""
    import h5py

    return bool(dataset.id.get_type() == h5py.h5t.py_create(dataset.dtype, logical=True))


def _is_space_there(dataset: h5py.Dataset, values: int) -> bool:
    """Tell whether the first values of a dataset that isn't chunked have their space.

    It has it with its header (compact), in files of no format (external), or at an offset once there's anything.
    """
    import h5py

    if dataset.external:
        return _external_bytes(dataset) >= values * int(dataset.dtype.itemsize)
    is_compact = dataset.id.get_create_plist().get_layout() == h5py.h5d.COMPACT
    return bool(is_compact) or dataset.id.get_offset() is not None


def _external_bytes(dataset: h5py.Dataset) -> int:
    """Return how many bytes of a dataset are there in its external files; HDF5 reads zeros behind their end."""
    there: int = 0
    for name, offset, length in dataset.external:
        try:
            size = os.stat(LinkedFile.raw(name, dataset.file.filename).expected).st_size  # noqa: PTH116
        except OSError:
            return there
        there += max(0, min(int(length), size - int(offset)))
        if size - offset < length:
            return there
    return there
