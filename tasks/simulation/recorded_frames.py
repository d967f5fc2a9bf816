"""The data files of an NXmx master that is to be replayed, and which of its images are in them."""

import re
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.nexus.errors import FileAbsent, UnusableMaster
from tasks.nexus.images import MasterImages
from tasks.nexus.layout import ImageBlock

_NUMBERED = re.compile(r"(.*?)(\d+)(\D*(?:\.h5)?)", re.DOTALL)  # the last number in a name, but for that of the suffix


@dataclass(frozen=True)
class RecordedFrames:
    """Consecutive images of a master: a file beside it, the dataset in it, and which of its frames they are."""

    name: str
    dataset: str
    first: int
    count: int


def list_recorded(master: Path) -> tuple[RecordedFrames, ...]:
    """Return where a master's images are, in their order. A file may have others too, and come more than once.

    Raises
    ------
    UnusableMaster
        The images aren't whole frames in data files beside it, or one of these isn't there.
    """
    with closing(MasterImages.of(str(master))) as images:
        return tuple(_recorded_frames(master, block, _dataset(images, block)) for block in _resolve(images))


def count_recorded(master: Path) -> int:
    """Count the images that are there, up to the first that isn't: an absent frame reads as zeros."""
    recorded = 0
    with closing(MasterImages.of(str(master))) as images:
        for block in _resolve(images):
            frames = images.open(block.first)[1]
            wanted = int(frames.dataset.shape[0]) if block.count is None else block.count
            there = frames.count_stored(block.frame, wanted)
            recorded += there
            if there < wanted:
                break
    return recorded


def _dataset(images: MasterImages, block: ImageBlock) -> Any:
    return images.open(block.first)[1].dataset


def _recorded_frames(master: Path, block: ImageBlock, dataset: Any) -> RecordedFrames:
    file, length = Path(dataset.file.filename), int(dataset.shape[0])
    if file == master:
        raise UnusableMaster(f"{master} holds its images itself; expected them in data files beside it")
    if file.parent != master.parent:
        raise UnusableMaster(f"{master} has images in {file}; expected a file beside it")
    # Frames are copied chunk by chunk
    if dataset.chunks is None or dataset.chunks != (1, *dataset.shape[1:]):
        raise UnusableMaster(
            f"{file}: {dataset.name} of shape {dataset.shape} has chunks of {dataset.chunks}; expected one an image"
        )
    assert block.frame is not None, "each image is one frame"
    return RecordedFrames(file.name, dataset.name, block.frame, length if block.count is None else block.count)


def _resolve(images: MasterImages) -> tuple[ImageBlock, ...]:
    """Return the blocks of the master's images, once all that they are mapped by has been read."""
    try:
        images.resolve()
        _require_all(images)
    except FileAbsent as error:
        master, file = Path(images.layout.master), Path(error.file)
        raise UnusableMaster(
            f"{master.name} names the data file {file.name}, which isn't in {file.parent}: add it there"
        ) from error
    if not images.layout.is_by_frame or any(block.frame is None for block in images.layout.blocks):
        raise UnusableMaster(
            f"{images.layout.master} maps parts of frames, or several to an image; expected each image to be one frame"
        )
    return images.layout.blocks


def _require_all(images: MasterImages) -> None:
    """Make sure that no data file is missing: of files that are numbered without end, that the last one ends them."""
    awaited = images.layout.awaits
    if awaited is None:
        return
    if not images.layout.is_virtual or (isinstance(awaited, FileAbsent) and _has_later_ones(Path(awaited.file))):
        raise awaited


def _has_later_ones(file: Path) -> bool:
    """Tell whether beside a file that isn't there are some of the same name, but for a higher number."""
    own, others = (
        _NUMBERED.fullmatch(file.name),
        map(_NUMBERED.fullmatch, (path.name for path in file.parent.iterdir())),
    )
    return own is not None and any(
        other.group(1, 3) == own.group(1, 3) and int(other[2]) > int(own[2]) for other in others if other
    )
