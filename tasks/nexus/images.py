"""A master's images, read from the data files where they are.

Through a virtual dataset an image that isn't written yet reads as zeros, and so does one whose file is missing; and a
process that has both a virtual dataset and one of its data files open can read the wrong image without any error
(HDF5 1.10 to 2.0). So handles are kept of data files only.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from tasks.nexus.errors import FileAbsent, UnusableMaster
from tasks.nexus.layout import ImageBlock, Layout
from tasks.nexus.links import LINKS_IN_A_ROW, LinkedFile
from tasks.nexus.mapping import map_images
from tasks.nexus.master import open_dataset, read_layout
from tasks.nexus.opening import is_swmr, not_ready_or_unusable, open_file

if TYPE_CHECKING:
    import h5py

OPEN_FILES = 4
"""Some layouts deal images out to several files in turn."""


class StackOfFrames:
    """An open dataset of frames.

    Parameters
    ----------
    dataset
        shape (frames, slow, fast); it isn't virtual.
    """

    def __init__(self, dataset: h5py.Dataset) -> None:
        self.dataset = dataset
        self._is_swmr = is_swmr(dataset.file)
        # Asking for a chunk costs as much as there are chunks (0.5 ms at 3600). A finished file needs one question.
        shape, chunks = dataset.shape, dataset.chunks
        is_filled = chunks == (1, *shape[1:]) and dataset.id.get_num_chunks() == shape[0]
        self._filled = shape[0] if is_filled else 0

    def is_outdated(self, frame: int) -> bool:
        """Tell whether a frame may have been stored since, unseen until the file is opened anew."""
        return frame >= self._filled and not self._is_swmr

    def refresh(self) -> None:
        """Take in what a SWMR writer has flushed since; without this an open file stays as it was first seen."""
        if self._is_swmr:
            self.dataset.refresh()

    def count_stored(self, frame: int, wanted: int) -> int:
        """Return how many frames are stored without a gap, from one on, at most `wanted`."""
        if frame + wanted <= self._filled:
            return wanted
        self.refresh()
        return next((there for there in range(wanted) if not is_stored(self.dataset, frame + there)), wanted)

    def close(self) -> None:
        """Close its file."""
        self.dataset.file.close()


def is_stored(dataset: h5py.Dataset, frame: int) -> bool:
    """Tell whether a frame is stored: the shape may be full from the start, and what isn't written reads as zeros."""
    import h5py

    shape = dataset.id.shape
    if not shape or frame >= shape[0]:
        return False
    if dataset.chunks is not None:
        # HDF5 reserves a chunk's place when it's written: of one that isn't, the size is 0.
        corner = (frame // dataset.chunks[0] * dataset.chunks[0], *(0,) * (len(shape) - 1))
        return bool(dataset.id.get_chunk_info_by_coord(corner).size)
    # Not chunked: with its header (compact), in files of no format (external), or at an offset once there's anything.
    is_elsewhere = dataset.id.get_create_plist().get_layout() == h5py.h5d.COMPACT or dataset.external
    return bool(is_elsewhere) or dataset.id.get_offset() is not None


class MasterImages:
    """The images of a master: where they are, and their data files, of which the last used ones stay open.

    Parameters
    ----------
    open_file
        How data files are opened.
    """

    def __init__(self, layout: Layout, open_file: Callable[[str], h5py.File] = open_file) -> None:
        self.layout = layout
        self._open_file = open_file
        self._open: OrderedDict[tuple[LinkedFile, str], tuple[int, StackOfFrames]] = OrderedDict()

    @classmethod
    def of(cls, master: str, open_file: Callable[[str], h5py.File] = open_file) -> MasterImages:
        """Return the images of a master; see `read_layout` for what can be wrong with it."""
        return cls(read_layout(master), open_file)

    def open(self, image: int) -> tuple[ImageBlock, StackOfFrames]:
        """Return the block that holds an image (from 0), and its dataset.

        Raises
        ------
        NotReady
            Its file isn't there or is in the making.
        NoSuchImage
            The master has no such image.
        UnusableMaster
            The file isn't what it should be.
        """
        # Each round opens one virtual dataset more, whose mapping then stands in its place.
        for _ in range(LINKS_IN_A_ROW):
            block = self.layout.find(image)
            frames = self._open_block(block, block.frame + image - block.first)
            if frames is not None:
                return block, frames
        raise self._lead_in_a_circle()

    def resolve(self) -> None:
        """Open all files once, so that the layout names the very datasets that hold the frames; raises as `open`."""
        for _ in range(LINKS_IN_A_ROW):
            known = self.layout
            for block in known.blocks:
                self._open_block(block)
            if self.layout is known:
                return
        raise self._lead_in_a_circle()

    def is_stored(self, image: int) -> bool:
        """Tell whether all parts of an image are stored; raises as `open` does.

        The answer is that of when their files were opened: refreshing a dataset that another reader in this process
        has open, as dxtbx may have, crashes HDF5 1.10.
        """
        self.layout.find(image)
        for _ in range(LINKS_IN_A_ROW):
            states = [self._is_part_stored(part, image) for part in self.layout.parts(image)]
            if None not in states:
                return all(states)
        raise self._lead_in_a_circle()

    def close(self) -> None:
        """Close the data files."""
        while self._open:
            self._open.popitem()[1][1].close()

    def _is_part_stored(self, part: ImageBlock, image: int) -> bool | None:
        frames = self._open_block(part, part.frame + image - part.first)
        return None if frames is None else is_stored(frames.dataset, part.frame + image - part.first)

    def _lead_in_a_circle(self) -> UnusableMaster:
        return UnusableMaster(f"the virtual datasets of {self.layout.master} lead back to themselves")

    def _open_block(self, block: ImageBlock, frame: int = 0) -> StackOfFrames | None:
        """Open a block's dataset, for a frame; None if it's virtual, and the layout has now got what it maps."""
        place = block.file.find()
        if place is None:
            raise FileAbsent(block.file.expected)
        key = (block.file, block.dataset)
        try:
            # By the inode, since a file that is replaced keeps its name, and an open handle the old one's content.
            inode = os.stat(place).st_ino  # noqa: PTH116 - once an image
            known, frames = self._open.get(key, (0, None))
            if frames and known == inode and not frames.is_outdated(frame):  # else the file was replaced
                self._open.move_to_end(key)
                return frames
            self._close_one(key)
            dataset, holder = open_dataset(block.file, block.dataset, self._open_file)
            if dataset.is_virtual:
                with dataset.file:
                    self.layout = self.layout.with_blocks(block, block.through(map_images(dataset, holder)))
                return None
            self._check_shape(block, dataset)
            self._open[key] = inode, StackOfFrames(dataset)
        except (OSError, RuntimeError, KeyError) as error:
            raise not_ready_or_unusable(error, place) from error
        while len(self._open) > OPEN_FILES:
            self._close_one(next(iter(self._open)))
        return self._open[key][1]

    def _close_one(self, key: tuple[LinkedFile, str]) -> None:
        if key in self._open:
            self._open.pop(key)[1].close()

    def _check_shape(self, block: ImageBlock, dataset: h5py.Dataset) -> None:
        if block.is_whole and dataset.shape[1:] != self.layout.frame_shape:
            with dataset.file:
                raise UnusableMaster(
                    f"{self.layout.master} has images of {self.layout.frame_shape} pixels, "
                    f"{block.file.expected} of {dataset.shape[1:]}"
                )
