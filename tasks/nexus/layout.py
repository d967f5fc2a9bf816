"""Which images of a master are which frames of which dataset in which file. Images and frames are counted from 0."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from tasks.file_version import FileVersion
from tasks.nexus.errors import NoSuchImage, NotReady
from tasks.nexus.links import LinkedFile

if TYPE_CHECKING:
    import numpy as np

SERIES = "data_"
"""How names begin that Dectris gives to the links to its data files."""

FAR = 2**62
"""Further than any image: the end of what has no end yet."""


@dataclass(frozen=True, slots=True)
class MappedRange:
    """Images `first` to `end`, which is left out."""

    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Region:
    """A run of values of a dataset, in order.

    Parameters
    ----------
    first, count
        Which of the values that are selected.
    start, shape
        The box that is selected; None: all of the dataset.
    """

    first: int
    count: int
    start: tuple[int, ...] | None = None
    shape: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class ImageBlock:
    """Consecutive images that are consecutive frames of one dataset.

    Parameters
    ----------
    first
        Number of the first image.
    count
        How many; None: as many as the dataset has, which grows.
    file, dataset
        Where they are: as the link or the virtual dataset says, so the dataset may itself be a link or virtual.
    frame
        The first image's place along the dataset's first axis; None: each image needs the whole dataset.
    is_whole
        Each image is a whole frame, not a part of one, nor one of several that make an image.
    region
        What the only image of the block needs of the dataset, if that's known and no frame.
    """

    first: int
    count: int | None
    file: LinkedFile
    dataset: str
    frame: int | None = 0
    is_whole: bool = True
    region: Region | None = None

    @property
    def end(self) -> int:
        """The image after the last one."""
        return FAR if self.count is None else self.first + self.count

    @property
    def is_one_image(self) -> bool:
        """Whether it's known to be a dataset without an axis of frames: that is seen when its file is opened."""
        return self.frame is None and self.is_whole

    def frame_of(self, image: int) -> int | None:
        """Return an image's place along the dataset's first axis; None: it needs the whole dataset."""
        return None if self.frame is None else self.frame + image - self.first

    def is_for_the_same_images(self, other: ImageBlock) -> bool:
        """Tell whether the images are those of another block, and whole frames if its are."""
        return (self.first, self.count, self.is_whole) == (other.first, other.count, other.is_whole)

    def through(self, inner: Iterable[ImageBlock]) -> Iterator[ImageBlock]:
        """Yield what these images are if the dataset is itself virtual and maps `inner`."""
        if self.frame is None:
            yield from (replace(self, file=each.file, dataset=each.dataset, region=None) for each in inner)
            return
        shift = self.first - self.frame
        for block in inner:
            first, end = max(block.first + shift, self.first), min(block.end + shift, self.end)
            if first < end:
                yield replace(
                    block,
                    first=first,
                    count=None if end >= FAR else end - first,
                    frame=block.frame_of(first - shift),
                    is_whole=block.is_whole and self.is_whole,
                )


@dataclass(frozen=True)
class Layout:
    """The layout of a master.

    Parameters
    ----------
    master
        The master's path.
    dataset
        The images' dataset in the master; the first one, where there are several.
    blocks
        In the order of their images.
    frame_shape
        Pixels of an image: slow, fast.
    dtype
        The type of number that an image has; None: that of the data file.
    fills_its_bytes
        Whether `dtype` is all that there is to say of the type of number: HDF5's may have fewer bits.
    is_virtual
        The images are mapped by a virtual dataset.
    awaits
        The file without which further images can't be numbered: a data file among several that isn't ready.
    unmapped
        Images that will follow those that are mapped yet, as far as that's known.
    read_from
        The files that say all this, as they were when they were read.
    """

    master: str
    dataset: str
    blocks: tuple[ImageBlock, ...]
    frame_shape: tuple[int, ...]
    dtype: np.dtype[Any] | None = None
    fills_its_bytes: bool = True
    is_virtual: bool = True
    awaits: NotReady | None = None
    unmapped: int = 0
    read_from: Mapping[str, FileVersion | None] = field(default_factory=dict)

    def until(self, count: int) -> Layout:
        """Return the layout if it ends with so many images, of which not all need be mapped yet."""
        blocks = tuple(
            replace(block, count=min(block.end, count) - block.first) for block in self.blocks if block.first < count
        )
        missing = max(0, count - self.end)
        return replace(self, blocks=blocks, awaits=self.awaits if missing else None, unmapped=missing)

    def find(self, image: int) -> ImageBlock:
        """Return the block of an image.

        Raises
        ------
        NoSuchImage
            There is none, or it's mapped to no file.
        NotReady
            It can't be known yet where it is.
        """
        index = bisect_right(self.blocks, image, key=_first_of) - 1
        if index >= 0 and image < self.blocks[index].end:
            return self.blocks[index]
        for part in self.parts(image):  # of an image of which only some parts are mapped
            return part
        if image < self.end:
            raise NoSuchImage(f"{self.master} maps image {image + 1} to no file: {self.dataset} has a gap there")
        if self.awaits is not None:
            raise self.awaits
        raise NoSuchImage(f"{self.master} has no image {image + 1}: it maps {self.end} images")

    def parts(self, image: int) -> tuple[ImageBlock, ...]:
        """Return all blocks that an image is made of."""
        return tuple(block for block in self.blocks if block.first <= image < block.end)

    @cached_property
    def end(self) -> int:
        """The image after the last one that is mapped."""
        return max((block.end for block in self.blocks), default=0)

    @property
    def is_series(self) -> bool:
        """Whether the images are those of links `data_000001` …, one after the other."""
        return not self.is_virtual and self.dataset.rpartition("/")[2].startswith(SERIES)

    @cached_property
    def is_by_frame(self) -> bool:
        """Whether each image is one whole frame of one dataset."""
        return all(block.is_whole for block in self.blocks) and all(
            one.end <= other.first for one, other in pairwise(self.blocks)
        )

    @cached_property
    def mapped(self) -> tuple[MappedRange, ...]:
        """The images that are mapped to a file, in order."""
        ranges: list[MappedRange] = []
        for block in self.blocks:
            if ranges and block.first <= ranges[-1].end:
                ranges[-1] = MappedRange(ranges[-1].first, max(ranges[-1].end, block.end))
            else:
                ranges.append(MappedRange(block.first, block.end))
        return tuple(ranges)

    def with_blocks(
        self, block: ImageBlock, inner: Sequence[ImageBlock], said_by: Mapping[str, FileVersion | None]
    ) -> Layout:
        """Return the layout with others in place of a block: what it is was found when its file was opened.

        A master may have a block, and a file, for each image: what this costs mustn't grow with their number.

        Parameters
        ----------
        inner
            In the order of their images.
        said_by
            The files that say so.
        """
        start = bisect_left(self.blocks, block.first, key=_first_of)
        end = bisect_right(self.blocks, block.first, key=_first_of)
        between = [*(other for other in self.blocks[start:end] if other != block), *inner]
        blocks = (*self.blocks[:start], *between, *self.blocks[end:])
        if self.blocks[end:] and between and between[-1].first > self.blocks[end].first:
            blocks = tuple(sorted(blocks, key=_first_of))
        layout = replace(self, blocks=blocks, read_from={**self.read_from, **said_by} if said_by else self.read_from)
        if len(inner) == 1 and inner[0].is_for_the_same_images(block):
            vars(layout).update({name: vars(self)[name] for name in _OF_THE_IMAGES if name in vars(self)})
        return layout


_first_of = attrgetter("first")

_OF_THE_IMAGES = ("end", "is_by_frame", "mapped")
"""What of a layout doesn't change while its blocks are for the same images."""
