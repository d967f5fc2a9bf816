"""The data files of an NXmx master that is to be replayed, and how many of its images are in them."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tasks.nexus.errors import FileAbsent, UnusableMaster
from tasks.nexus.images import MasterImages


@dataclass(frozen=True)
class RecordedFile:
    """Some of a master's images, in order: a file beside it, the dataset in it, and the frames that has room for."""

    name: str
    dataset: str
    frames: int


def list_recorded(master: Path) -> tuple[RecordedFile, ...]:
    """Return a master's data files in the order of their images.

    Raises
    ------
    UnusableMaster
        It has no images in data files beside it, one after the other, or one of these isn't there.
    """
    with closing(MasterImages.of(str(master))) as images:
        files = []
        for block in _resolve(images).layout.blocks:
            dataset = images.open(block.first)[1].dataset
            file = Path(dataset.file.filename)
            if file == master:
                raise UnusableMaster(f"{master} holds its images itself; expected them in data files beside it")
            if file.parent != master.parent:
                raise UnusableMaster(f"{master} has images in {file}; expected a file beside it")
            files.append(RecordedFile(file.name, dataset.name, int(dataset.shape[0])))
            if block.frame != 0 or files.count(files[-1]) > 1:
                raise UnusableMaster(f"{master} deals its images out to files in turn; expected one after the other")
    return tuple(files)


def count_recorded(master: Path) -> int:
    """Count the images that are there, up to the first that isn't: an absent frame reads as zeros."""
    recorded = 0
    with closing(MasterImages.of(str(master))) as images:
        for block in _resolve(images).layout.blocks:
            frames = images.open(block.first)[1]
            wanted = int(frames.dataset.shape[0]) if block.count is None else block.count
            there = frames.count_stored(block.frame, wanted)
            recorded += there
            if there < wanted:
                break
    return recorded


def _resolve(images: MasterImages) -> MasterImages:
    try:
        images.resolve()
        if images.layout.awaits:
            raise images.layout.awaits
    except FileAbsent as error:
        master, file = Path(images.layout.master), Path(error.file)
        raise UnusableMaster(
            f"{master.name} names the data file {file.name}, which isn't in {file.parent}: add it there"
        ) from error
    return images
