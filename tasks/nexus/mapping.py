"""What a virtual dataset maps: runs of images to runs of frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.nexus.errors import UnusableMaster
from tasks.nexus.layout import FAR, ImageBlock
from tasks.nexus.links import LinkedFile, follow

if TYPE_CHECKING:
    import h5py


class UnmappableSelection(UnusableMaster):
    """A virtual dataset maps something else than images to frames."""


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs (first, count) along the first axis that a dataspace selects; whether they are whole along the others."""

    runs: tuple[tuple[int, int], ...]
    is_whole: bool


def map_images(dataset: h5py.Dataset, holder: str) -> tuple[ImageBlock, ...]:
    """Return the blocks of a virtual dataset, in the order of their images.

    Parameters
    ----------
    holder
        The path by which its file was opened.

    Raises
    ------
    UnmappableSelection
        A mapping isn't one of images to frames.
    UnusableMaster
        It maps a dataset of its own file that isn't there.
    """
    blocks: list[ImageBlock] = []
    for source in dataset.virtual_sources():
        images = _read_runs(source.vspace, dataset.shape)
        frames = _read_source_runs(source.src_space, dataset.shape)
        file, path = _locate(dataset.file, holder, source.file_name, source.dset_name)
        is_whole = images.is_whole and frames.is_whole
        blocks += [
            ImageBlock(first, None if count >= FAR else count, file, path, frame, is_whole)
            for first, frame, count in _pair(images.runs, frames.runs)
        ]
    return tuple(sorted(blocks, key=lambda block: block.first))


def _locate(file: h5py.File, holder: str, name: str, path: str) -> tuple[LinkedFile, str]:
    """Return file and dataset of a source. A source "." is the file itself, where mostly an external link stands."""
    if name != ".":
        if "%b" in name.replace("%%", ""):
            raise UnmappableSelection(f"{holder} maps files without end ({name})")
        return LinkedFile.mapped(name, holder), path
    target = follow(file, holder, path)
    if target is None:
        raise UnusableMaster(f"{holder} maps {path}, which isn't in the file")
    return target.file or LinkedFile.itself(holder), target.path


def _read_source_runs(space: h5py.h5s.SpaceID, shape: tuple[int, ...]) -> Runs:
    import h5py

    # A whole source is noted without its shape: then it holds as many frames as are mapped to it.
    if space.get_select_type() == h5py.h5s.SEL_ALL:
        return Runs(((0, FAR),), is_whole=True)
    if len(space.shape) < len(shape):  # one image a file, without an axis of frames
        return Runs(((0, 1),), is_whole=False)
    runs = _read_runs(space, (space.shape[0], *shape[1:]))
    return Runs(runs.runs, runs.is_whole and space.shape[1:] == shape[1:])


def _read_runs(space: h5py.h5s.SpaceID, shape: tuple[int, ...]) -> Runs:
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
        return Runs(_regular_runs(*axes[0]), is_whole and len(axes) == len(shape))
    if kind == h5py.h5s.SEL_HYPERSLABS:
        # shape (blocks, 2, axes): first and last corner
        corners = space.get_select_hyper_blocklist()
        runs = dict.fromkeys((int(first[0]), int(last[0] - first[0] + 1)) for first, last in corners)
        is_whole = all(
            tuple(first[1:]) == (0,) * (len(shape) - 1) and tuple(last[1:] + 1) == shape[1:] for first, last in corners
        )
        return Runs(tuple(sorted(runs)), is_whole)
    raise UnmappableSelection("a virtual dataset should map images to frames; this one maps single points, or nothing")


def _regular_runs(start: int, stride: int, count: int, block: int) -> tuple[tuple[int, int], ...]:
    import h5py

    endless = h5py.h5s.UNLIMITED
    if block == endless or (count == endless and stride == block):
        return ((start, FAR),)
    if count == endless:
        raise UnmappableSelection("a virtual dataset without end should map images to frames one after the other")
    if count == 1 or stride == block:
        return ((start, count * block),)
    return tuple((start + number * stride, block) for number in range(count))


def _pair(images: Sequence[tuple[int, int]], frames: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
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
    if 0 < room < FAR // 2 or any(count for _, count in remaining):
        raise UnmappableSelection("a virtual dataset should map each frame to an image; it has more frames")
