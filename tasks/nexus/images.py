"""A master's images, read from the data files where they are.

Through a virtual dataset an image that isn't written yet reads as zeros, and so does one whose file is missing; and a
process that has both a virtual dataset and one of its data files open can read the wrong image without any error
(HDF5 1.10 to 2.0). So handles are kept of data files only.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from tasks.file_version import FileVersion, file_version
from tasks.nexus.errors import FileAbsent, UnusableMaster
from tasks.nexus.layout import ImageBlock, Layout
from tasks.nexus.links import LINKS_IN_A_ROW, LinkedFile
from tasks.nexus.mapping import map_images
from tasks.nexus.master import closed_at_fault, open_dataset, read_layout
from tasks.nexus.opening import faults_at, is_swmr, open_file
from tasks.nexus.storage import is_filled, is_region_stored, is_stored

if TYPE_CHECKING:
    import h5py

OPEN_FILES = 4
"""Some layouts deal images out to several files in turn."""


class StackOfFrames:
    """An open dataset of frames.

    Parameters
    ----------
    dataset
        shape (frames, slow, fast), or (slow, fast) of a single one; it isn't virtual.
    """

    def __init__(self, dataset: h5py.Dataset) -> None:
        self.dataset = dataset
        self._is_swmr = is_swmr(dataset.file)
        # Asking for a chunk costs as much as there are chunks (0.5 ms at 3600). A finished file needs one question.
        self._filled = 0 if not is_filled(dataset) else dataset.shape[0] if dataset.shape else 1

    def is_outdated(self, frame: int | None) -> bool:
        """Tell whether a frame (None: any) may have been stored since, unseen until the file is opened anew."""
        return not self._is_swmr and not self._is_known_stored(frame, 1)

    def refresh(self) -> None:
        """Take in what a SWMR writer has flushed since; without this an open file stays as it was first seen."""
        if self._is_swmr:
            self.dataset.refresh()

    def count_stored(self, frame: int | None, wanted: int) -> int:
        """Return how many frames are stored without a gap, from one on, at most `wanted`; None: all of the dataset."""
        if self._is_known_stored(frame, wanted):
            return wanted
        with faults_at(self.dataset.file.filename):
            self.refresh()
            if frame is None:
                return wanted if is_stored(self.dataset, None) else 0
            return next((there for there in range(wanted) if not is_stored(self.dataset, frame + there)), wanted)

    def _is_known_stored(self, frame: int | None, count: int) -> bool:
        return self._filled > 0 if frame is None else frame + count <= self._filled

    def close(self) -> None:
        """Close its file."""
        self.dataset.file.close()


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
        self._open: OrderedDict[tuple[LinkedFile, str], tuple[FileVersion | None, StackOfFrames]] = OrderedDict()

    @classmethod
    def of(cls, master: str, open_file: Callable[[str], h5py.File] = open_file) -> MasterImages:
        """Return the images of a master; see `read_layout` for what can be wrong with it."""
        return cls(read_layout(master), open_file)

    @property
    def is_current(self) -> bool:
        """Whether the files that say where the images are haven't changed since they were read.

        One that isn't seen for a while, as on a file system that is away, may still be the same.
        """
        versions = ((file_version(file), version) for file, version in self.layout.read_from.items())
        return all(now in (None, version) for now, version in versions)

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
            frames = self._open_block(block, image)
            if frames is not None:
                return block, frames
        raise self._lead_in_a_circle()

    def resolve(self) -> None:
        """Open all files once, so that the layout names the very datasets that hold the frames; raises as `open`."""
        blocks = self.layout.blocks
        for _ in range(LINKS_IN_A_ROW):
            for block in blocks:
                self._open_block(block)
            known = set(blocks)
            blocks = tuple(block for block in self.layout.blocks if block not in known and not block.is_one_image)
            if not blocks:
                return
        raise self._lead_in_a_circle()

    def is_stored(self, image: int) -> bool:
        """Tell whether all parts of an image are stored; raises as `open` does."""
        return self.find_unstored(image) is None

    def find_unstored(self, image: int) -> ImageBlock | None:
        """Return a part of an image that isn't stored; None: all are. Raises as `open` does.

        The answer is that of when their files were opened: refreshing a dataset that another reader in this process
        has open, as dxtbx may have, crashes HDF5 1.10.
        """
        self.layout.find(image)
        for _ in range(LINKS_IN_A_ROW):
            layout = self.layout
            unstored = next((part for part in layout.parts(image) if not self._is_part_stored(part, image)), None)
            if self.layout is layout:
                return unstored
        raise self._lead_in_a_circle()

    def close(self) -> None:
        """Close the data files."""
        while self._open:
            self._open.popitem()[1][1].close()

    def _is_part_stored(self, part: ImageBlock, image: int) -> bool:
        frames = self._open_block(part, image)
        if frames is None:  # the layout has changed
            return False
        with faults_at(frames.dataset.file.filename):
            if part.region is not None:
                return is_region_stored(frames.dataset, part.region)
            return is_stored(frames.dataset, part.frame_of(image))

    def _lead_in_a_circle(self) -> UnusableMaster:
        return UnusableMaster(f"the virtual datasets of {self.layout.master} lead back to themselves")

    def _open_block(self, block: ImageBlock, image: int | None = None) -> StackOfFrames | None:
        """Open a block's dataset, for an image, by default its first one.

        Returns
        -------
        StackOfFrames | None
            None if it's no stack of frames: the layout has now got what it is.
        """
        place = block.file.find()
        if place is None:
            raise FileAbsent(block.file.expected)
        key = (block.file, block.dataset)
        with faults_at(place):
            # A file that is replaced keeps its name; one that is written again in its place also its inode.
            version = file_version(place)
            known, frames = self._open.get(key, (None, None))
            if (
                frames
                and known == version
                and not frames.is_outdated(block.frame_of(block.first if image is None else image))
            ):
                self._open.move_to_end(key)
                return frames
            self._close_one(key)
            versions: dict[str, FileVersion | None] = {}
            dataset, holder = open_dataset(block.file, block.dataset, self._open_file, versions)
            found = self._describe(block, dataset, holder)
            if found is not None:
                self.layout = self.layout.with_blocks(block, found, versions)
                if dataset.is_virtual:
                    dataset.file.close()
                    return None
            self._open[key] = version, StackOfFrames(dataset)
        while len(self._open) > OPEN_FILES:
            self._close_one(next(iter(self._open)))
        return self._open[key][1] if found is None else None

    def _describe(self, block: ImageBlock, dataset: h5py.Dataset, holder: str) -> list[ImageBlock] | None:
        """Return what a block is if not the frames of a dataset: of a virtual dataset, or one image alone."""
        with closed_at_fault(dataset.file):
            if dataset.is_virtual:
                return list(block.through(map_images(dataset, holder).blocks))
            if block.is_whole and block.frame is not None and dataset.shape == self.layout.frame_shape:
                return [replace(block, frame=None)]
            self._check_shape(block, dataset)
        return None

    def _close_one(self, key: tuple[LinkedFile, str]) -> None:
        if key in self._open:
            self._open.pop(key)[1].close()

    def _check_shape(self, block: ImageBlock, dataset: h5py.Dataset) -> None:
        shape = dataset.shape if block.frame is None else dataset.shape[1:]
        if block.is_whole and shape != self.layout.frame_shape:
            raise UnusableMaster(
                f"{self.layout.master} has images of {self.layout.frame_shape} pixels, {block.file.expected} of {shape}"
            )
