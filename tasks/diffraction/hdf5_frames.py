"""Frames of a NeXus master, read from the data files where they are.

Through the master's virtual dataset an image that isn't written yet reads as zeros, and a process that has both the
virtual dataset and a data file open may get the wrong image. So the master's map is read once and closed, and frames
are read from the data files only, after their chunk was seen. It also spares dxtbx's walk over the NeXus tree, which
costs more than reading the frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - lets HDF5 read bitshuffle-LZ4
import numpy as np
from dxtbx import flumpy, nexus
from dxtbx.format.FormatNXmx import FormatNXmx

from blocks.errors import PassingFault


class FrameMissing(PassingFault):
    """A frame of a master has not been written, or its data file isn't there."""


@dataclass(frozen=True, slots=True)
class Block:
    """Frames `first` to `end` (0-based, end excluded) of a master, and where the first of them lies."""

    first: int
    end: int
    file: str
    dataset: str
    offset: int


class UnmappedLayout(Exception):
    """The master's frames aren't whole frames in simple runs: dxtbx must read them."""


@dataclass(frozen=True)
class FrameMap:
    """Where a master's frames lie, and how a frame becomes the panels of the detector."""

    master: str
    blocks: tuple[Block, ...]
    dtype: np.dtype[Any] | None
    panels: tuple[tuple[slice, ...], ...]
    bit_depth: int | None

    def find(self, index: int) -> Block:
        """Return the block that holds a frame (0-based)."""
        for block in self.blocks:
            if block.first <= index < block.end:
                return block
        raise FrameMissing(f"{self.master} has no image {index + 1}: it maps {self.blocks[-1].end} images")


def read_frame_map(master: str, image_format: FormatNXmx) -> FrameMap:
    """Read the map of a NXmx master, of which dxtbx has made `image_format`.

    Raises
    ------
    UnmappedLayout
        The frames can't be read one by one from the data files.
    FrameMissing
        The first data file is missing.
    """
    with h5py.File(master, "r", swmr=True) as file:
        entry = image_format._get_nxmx(file).entries[0]  # noqa: SLF001 - knows what old Diamond files get wrong
        group, detector = entry.data[0], entry.instruments[0].detectors[0]
        name = nexus.nxmx.h5str(group.signal)
        if name not in group:  # dxtbx takes the first there is
            raise UnmappedLayout
        path = f"{group.path}/{name}"
        link = file.get(path, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            blocks, dtype = [_external_block(master, link, None)], None
        else:
            dataset = file[path]
            dtype = dataset.dtype
            if dataset.is_virtual:
                blocks = sorted(_virtual_blocks(master, file, dataset), key=lambda block: block.first)
            else:
                blocks = [Block(0, dataset.shape[0], master, path, 0)]
        panels = nexus.get_detector_module_slices(detector)
        return FrameMap(master, tuple(blocks), dtype, panels, image_format._bit_depth_readout)  # noqa: SLF001


def _external_block(master: str, link: h5py.ExternalLink, count: int | None) -> Block:
    file = Path(master).parent / link.filename
    if count is None:
        if not file.exists():
            raise FrameMissing(f"the data file {file} of {master} is missing; wait until the detector has written it")
        with h5py.File(file, "r", swmr=True) as data:
            count = data[link.path].shape[0]
    return Block(0, count, str(file), link.path, 0)


def _virtual_blocks(master: str, file: h5py.File, dataset: h5py.Dataset) -> Iterator[Block]:
    for source in dataset.virtual_sources():
        first, count = _frame_run(source.vspace, dataset.shape)
        # A whole source dataset is noted without its shape: then it holds as many frames as it is mapped to.
        whole = source.src_space.get_select_type() == h5py.h5s.SEL_ALL
        offset, available = (0, count) if whole else _frame_run(source.src_space, dataset.shape)
        if available != count:
            raise UnmappedLayout
        name, path = source.file_name, source.dset_name
        if name == ".":
            link = file.get(path, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                name, path = link.filename, link.path
            else:
                name = master
        yield Block(first, first + count, str(Path(master).parent / name), path, offset)


def _frame_run(space: h5py.h5s.SpaceID, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return first and number of the whole, consecutive frames that a dataspace selects."""
    if space.get_select_type() == h5py.h5s.SEL_ALL:
        return 0, shape[0]
    if not space.is_regular_hyperslab():
        raise UnmappedLayout
    start, stride, count, block = space.get_regular_hyperslab()
    steps = [(s, n * b) for s, d, n, b in zip(start, stride, count, block, strict=True) if n == 1 or d == b]
    if len(steps) < len(start) or [n for _, n in steps[1:]] != list(shape[1:]) or steps[0][1] > 2**40:
        raise UnmappedLayout
    return steps[0]


class FrameReader:
    """Reads a master's frames for dxtbx, which takes it for one of its own readers."""

    def __init__(self, frames: FrameMap) -> None:
        self.frames = frames
        self._open: tuple[str, str, h5py.Dataset] | None = None
        self._inode: int | None = None

    def read(self, index: int) -> tuple[Any, ...]:
        """Return frame `index` (0-based) as DIALS arrays, one a panel.

        Raises
        ------
        FrameMissing
            It has not been written.
        """
        block = self.frames.find(index)
        dataset = self._dataset(block, index)
        frame = block.offset + index - block.first
        if not _is_written(dataset, frame):
            dataset.refresh()
            if not _is_written(dataset, frame):
                raise FrameMissing(
                    f"image {index + 1} of {self.frames.master} is not in {block.file} (frame {frame} of "
                    f"{block.dataset}); it has not been written, or the writer has not flushed it"
                )
        pixels = (
            dataset[frame]
            if _same_as_int32(dataset.dtype, self.frames.dtype)
            else dataset.astype(self.frames.dtype)[frame]
        )
        return tuple(_as_flex(pixels[panel], self.frames.bit_depth) for panel in self.frames.panels)

    def _dataset(self, block: Block, index: int) -> h5py.Dataset:
        """Open a block's dataset, or return it if it's open and its file has not been replaced."""
        path = Path(block.file)
        try:
            inode = path.stat().st_ino
        except FileNotFoundError as error:
            raise FrameMissing(
                f"the data file {path} with image {index + 1} of {self.frames.master} is missing; "
                "wait until the detector has written it"
            ) from error
        if self._open is None or self._open[:2] != (block.file, block.dataset) or self._inode != inode:
            self.close()
            self._open = (block.file, block.dataset, h5py.File(path, "r", swmr=True)[block.dataset])
            self._inode = inode
        return self._open[2]

    def close(self) -> None:
        """Close the data file."""
        if self._open is not None:
            dataset, self._open = self._open[2], None
            dataset.file.close()

    # What dxtbx's imagesets ask of a reader.

    def __len__(self) -> int:
        return self.frames.blocks[-1].end

    def copy(self, paths: object, count: int | None = None) -> FrameReader:
        """Return the reader of some of the images: itself, since dxtbx asks for frames by their number in the file."""
        return self

    def paths(self) -> list[str]:
        """Return the master, as dxtbx's own reader does."""
        return [self.frames.master]

    def master_path(self) -> str:
        """Return the master."""
        return self.frames.master

    def identifiers(self) -> list[str]:
        """Return a name for each image."""
        return [f"{self.frames.master}-{index}" for index in range(len(self))]

    def is_single_file_reader(self) -> bool:
        """Say that all images are in one file."""
        return True


def _is_written(dataset: h5py.Dataset, frame: int) -> bool:
    if frame >= dataset.id.shape[0]:
        return False
    if dataset.chunks is None:
        return bool(dataset.id.get_offset())
    corner = (frame // dataset.chunks[0] * dataset.chunks[0], *(0,) * (dataset.ndim - 1))
    return bool(dataset.id.get_chunk_info_by_coord(corner).size)


def _same_as_int32(stored: np.dtype[Any], mapped: np.dtype[Any] | None) -> bool:
    """Tell whether the master's type (None: the data file's) makes no difference to 32-bit integers in the end."""
    return mapped in (None, stored) or (stored.kind in "iu" and mapped.kind in "iu" and np.can_cast(stored, mapped))


def _as_flex(pixels: np.ndarray[Any, Any], bit_depth: int | None) -> Any:
    """Convert as `dxtbx.nexus.get_raw_data` and `FormatNXmx.get_raw_data` do: the two highest values mean masked."""
    if np.issubdtype(pixels.dtype, np.integer):
        pixels = np.ascontiguousarray(pixels, dtype=np.int32)
    elif pixels.dtype.itemsize <= np.dtype(np.float32).itemsize:
        pixels = np.ascontiguousarray(pixels, dtype=np.float32)
    if bit_depth:
        top = 2**31 if bit_depth == 32 else 2**bit_depth
        pixels[pixels == top - 1] = -1
        pixels[pixels == top - 2] = -2
    return flumpy.from_numpy(pixels)


def reads_plain_frames(format_class: type) -> bool:
    """Tell whether a dxtbx format reads its frames as FormatNXmx does, so that a FrameReader may stand in."""
    return issubclass(format_class, FormatNXmx) and format_class.get_raw_data is FormatNXmx.get_raw_data
