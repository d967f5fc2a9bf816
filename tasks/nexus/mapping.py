"""What a virtual dataset maps: runs of images to runs of frames."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.nexus.errors import FileAbsent, NotReady, UnusableMaster
from tasks.nexus.layout import FAR, ImageBlock, Region
from tasks.nexus.links import LinkedFile, follow

if TYPE_CHECKING:
    import h5py
    from h5py._hl.vds import VDSmap

BLOCK_NUMBER = "%b"
"""In the name of a source: one file for each block of images, numbered from 0, without end."""


class UnmappableSelection(UnusableMaster):
    """A virtual dataset maps something else than images to frames."""


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs (first, count) along the first axis that a dataspace selects; whether they are whole along the others."""

    runs: Iterable[tuple[int, int]]
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Mapping:
    """What a virtual dataset maps.

    Parameters
    ----------
    blocks
        In the order of their images.
    awaits
        Why there may be further images, which can't be told apart yet; None: there are none, or they are in the blocks.
    """

    blocks: tuple[ImageBlock, ...]
    awaits: NotReady | None = None


def map_images(dataset: h5py.Dataset, holder: str) -> Mapping:
    """Read what a virtual dataset maps.

    Parameters
    ----------
    holder
        The path by which its file was opened.
    """
    blocks: list[ImageBlock] = []
    awaits: NotReady | None = None
    for source in dataset.virtual_sources():
        if _is_numbered(source):
            numbered, missing = _map_numbered_files(dataset, holder, source)
            blocks += numbered
            awaits = awaits or missing
            continue
        blocks += _map_source(dataset, holder, source)
        if _has_no_end_in_turn(source.vspace):
            awaits = awaits or NotReady(holder, f"maps {dataset.shape[0]} images yet")
    return Mapping(tuple(sorted(blocks, key=lambda block: block.first)), awaits)


@dataclass(frozen=True, slots=True)
class Source:
    """A dataset that a virtual dataset maps; what it takes of that, as bytes that are the same for the same."""

    file: LinkedFile
    dataset: str
    selection: bytes


def list_mappings(dataset: h5py.Dataset, holder: str) -> Iterator[Source]:
    """Yield the datasets that a virtual dataset maps, whatever it's of; of files without end, those that are there."""
    for source in dataset.virtual_sources():
        selection = source.vspace.encode() + source.src_space.encode()
        if _is_numbered(source):
            blocks, _ = _map_numbered_files(dataset, holder, source)
            yield from (Source(block.file, block.dataset, selection) for block in blocks)
        else:
            yield Source(*_locate(dataset.file, holder, source.file_name, source.dset_name), selection)


def list_sources(dataset: h5py.Dataset, holder: str) -> Iterator[LinkedFile]:
    """Yield the files that a virtual dataset names; of files without end, those that are there."""
    for source in dataset.virtual_sources():
        if _is_numbered(source):
            yield from (block.file for block in _map_numbered_files(dataset, holder, source)[0])
        elif source.file_name != ".":
            yield LinkedFile.mapped(source.file_name, holder)


def _map_source(dataset: h5py.Dataset, holder: str, source: VDSmap) -> Iterator[ImageBlock]:
    """Yield the blocks of a source: frame by frame; else image by image, or all of it for each image."""
    file, path = _locate(dataset.file, holder, source.file_name, source.dset_name)
    images = _read_runs(source.vspace, dataset.shape)
    try:
        frames = _read_source_runs(source.src_space, dataset.shape)
        pairs = list(_pair(images.runs, frames.runs))
        is_whole = images.is_whole and frames.is_whole
    except UnmappableSelection:
        for first, count, region in _regions(source, images, math.prod(dataset.shape[1:])):
            yield ImageBlock(first, None if count >= FAR else count, file, path, None, is_whole=False, region=region)
        return
    for first, frame, count in pairs:
        yield ImageBlock(first, None if count >= FAR else count, file, path, frame, is_whole)


def _regions(source: VDSmap, images: Runs, pixels: int) -> Iterator[tuple[int, int, Region | None]]:
    """Yield (image, 1, its part of the source), or, where the parts can't be said, (first, count, None)."""
    import h5py

    space = source.src_space
    start: tuple[int, ...] | None = None
    shape: tuple[int, ...] | None = None
    if is_box := space.get_select_type() == h5py.h5s.SEL_HYPERSLABS and space.is_regular_hyperslab():
        start, stride, counts, blocks = space.get_regular_hyperslab()
        shape = tuple(count * block for count, block in zip(counts, blocks, strict=True))
        # Without gaps, and with an end.
        is_box = max(shape) < FAR and all(
            count == 1 or step == block for count, step, block in zip(counts, stride, blocks, strict=True)
        )
    runs = tuple(images.runs)
    if not images.is_whole or not (is_box or space.get_select_type() == h5py.h5s.SEL_ALL) or max(runs)[1] >= FAR:
        yield from ((first, count, None) for first, count in runs)
        return
    numbers = (first + step for first, count in runs for step in range(count))
    for place, image in enumerate(numbers):
        yield image, 1, Region(place * pixels, pixels, start, shape)


def _map_numbered_files(dataset: h5py.Dataset, holder: str, source: VDSmap) -> tuple[list[ImageBlock], NotReady | None]:
    """Return the blocks of files without end, as far as they are there, and the file that is awaited next."""
    start, stride, _, block = (axis[0] for axis in source.vspace.get_regular_hyperslab())
    frames = _read_source_runs(source.src_space, dataset.shape)
    is_whole = _read_runs(source.vspace, dataset.shape).is_whole and frames.is_whole
    blocks: list[ImageBlock] = []
    # HDF5 gives the virtual dataset the length that its files have up to the first one that isn't there.
    firsts = range(start, dataset.shape[0], stride)
    for number, first in enumerate(firsts):
        file, path = _locate_numbered(holder, source, number)
        pairs = _pair([(first, block)], frames.runs)
        blocks += [ImageBlock(image, count, file, path, frame, is_whole) for image, frame, count in pairs]
    awaited, _ = _locate_numbered(holder, source, len(firsts))
    is_there = awaited.find() is not None
    return blocks, NotReady(holder, f"maps {dataset.shape[0]} images yet") if is_there else FileAbsent(awaited.expected)


def _locate_numbered(holder: str, source: VDSmap, number: int) -> tuple[LinkedFile, str]:
    name, path = (_put_number(text, number) for text in (source.file_name, source.dset_name))
    return LinkedFile.itself(holder) if name == "." else LinkedFile.named(name, holder, "virtual"), path


def _is_numbered(source: VDSmap) -> bool:
    return any(BLOCK_NUMBER in text.replace("%%", "") for text in (source.file_name, source.dset_name))


def _put_number(text: str, number: int) -> str:
    """Put a block's number in place of `%b`.

    >>> _put_number("100%%_%b.h5", 7)
    '100%_7.h5'
    """
    return "%".join(part.replace(BLOCK_NUMBER, str(number)) for part in text.split("%%"))


def _locate(file: h5py.File, holder: str, name: str, path: str) -> tuple[LinkedFile, str]:
    """Return file and dataset of a source. A source "." is the file itself, where mostly an external link stands."""
    path = path.replace("%%", "%")
    if name != ".":
        return LinkedFile.mapped(name, holder), path
    target = follow(file, holder, path)
    if target is None:  # it may come
        return LinkedFile.itself(holder), path
    return target.file or LinkedFile.itself(holder), target.path


def _read_source_runs(space: h5py.h5s.SpaceID, shape: tuple[int, ...]) -> Runs:
    import h5py

    # A whole source is noted without its shape: then it holds as many frames as are mapped to it.
    if space.get_select_type() == h5py.h5s.SEL_ALL:
        return Runs(((0, FAR),), is_whole=True)
    if len(space.shape) < len(shape):  # one image a file, without an axis of frames
        raise UnmappableSelection("a virtual dataset should map images to frames; this one maps single images")
    runs = _read_runs(space, (FAR, *shape[1:]))
    return Runs(runs.runs, runs.is_whole and space.shape[1:] == shape[1:])


def _read_runs(space: h5py.h5s.SpaceID, shape: tuple[int, ...]) -> Runs:
    """Read the runs that a dataspace selects.

    Parameters
    ----------
    shape
        How far they may go along the first axis, and how far they go along the others if they are whole.
    """
    import h5py

    kind = space.get_select_type()
    if kind == h5py.h5s.SEL_ALL:
        return Runs(((0, shape[0]),), is_whole=True)
    if kind == h5py.h5s.SEL_HYPERSLABS and space.is_regular_hyperslab():
        start, stride, count, block = space.get_regular_hyperslab()
        axes = list(zip(start, stride, count, block, strict=True))
        is_whole = all(
            s == 0 and n * b == size and (n == 1 or d == b)
            for (s, d, n, b), size in zip(axes[1:], shape[1:], strict=False)
        )
        return Runs(_regular_runs(*axes[0], end=shape[0]), is_whole and len(axes) == len(shape))
    if kind == h5py.h5s.SEL_HYPERSLABS:
        # shape (blocks, 2, axes): first and last corner
        corners = space.get_select_hyper_blocklist()
        runs = dict.fromkeys((int(first[0]), int(last[0] - first[0] + 1)) for first, last in corners)
        is_whole = all(
            tuple(first[1:]) == (0,) * (len(shape) - 1) and tuple(last[1:] + 1) == shape[1:] for first, last in corners
        )
        return Runs(tuple(sorted(runs)), is_whole)
    raise UnmappableSelection("a virtual dataset should map images to frames; this one maps single points, or nothing")


def _has_no_end_in_turn(space: h5py.h5s.SpaceID) -> bool:
    """Tell whether a dataspace selects runs without end that leave others out: files to which images are dealt."""
    import h5py

    if space.get_select_type() != h5py.h5s.SEL_HYPERSLABS or not space.is_regular_hyperslab():
        return False
    _, stride, count, block = (axis[0] for axis in space.get_regular_hyperslab())
    return bool(count == h5py.h5s.UNLIMITED and stride != block)


def _regular_runs(start: int, stride: int, count: int, block: int, end: int) -> Iterable[tuple[int, int]]:
    import h5py

    endless = h5py.h5s.UNLIMITED
    if block == endless or (count == endless and stride == block):
        return ((start, FAR),)
    if count == endless:
        return _runs_until(start, stride, block, end)
    if count == 1 or stride == block:
        return ((start, count * block),)
    return tuple((start + number * stride, block) for number in range(count))


def _runs_until(start: int, stride: int, block: int, end: int) -> Iterator[tuple[int, int]]:
    for first in itertools.count(start, stride):
        if first >= end:
            return
        yield first, min(block, end - first)


def _pair(images: Iterable[tuple[int, int]], frames: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Yield (image, frame, count): both selections are gone through in order, whatever their runs are."""
    frame, room = 0, 0
    remaining = iter(frames)
    for first, count in images:
        image, left = first, count
        while left:
            if not room:
                frame, room = next(remaining, (0, 0))
                if not room:
                    raise UnmappableSelection("a virtual dataset should map each image to a frame; it has fewer frames")
            step = min(left, room)
            yield image, frame, step
            image, left = image + step, left - step
            frame, room = frame + step, room - step
    # Of a run without end nearly all is left over, and may be.
    if 0 < room < FAR // 2 or (isinstance(frames, tuple) and any(count for _, count in remaining)):
        raise UnmappableSelection("a virtual dataset should map each frame to an image; it has more frames")
