"""Say how many images of an HDF5 master are stored. A program: its lines in and out are JSON.

It imports nothing heavy, so that it starts quickly. The master is opened to read its layout, and closed again until it
changes; handles are kept of data files only, without locks.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass

from tasks.nexus.errors import NoSuchImage, NotReady, UnusableMaster
from tasks.nexus.images import MasterImages, StackOfFrames
from tasks.nexus.layout import FAR, ImageBlock, MappedRange
from tasks.nexus.master import IMAGE_AXES
from tasks.nexus.opening import seconds_since_written
from tasks.nexus.scan import count_scanned
from tasks.processes.parent import lines_to_parent

SETTLED_S = 30.0
"""Since a file was last written: then its images are all there, if nothing in it tells which are."""


@dataclass(frozen=True)
class Answer:
    """What a look found.

    Parameters
    ----------
    found
        Images that are there, beyond those seen.
    expected
        Images that there will be: those that the master maps to files, or its scan's; None: not known yet.
    waiting_for
        What is missing next, for people.
    mapped
        Which images these are, in order; a virtual dataset may have gaps.
    """

    found: int
    expected: int | None
    waiting_for: str | None
    mapped: tuple[MappedRange, ...] = ()


class ImageCounter:
    """Looks at one master and its data files."""

    def __init__(self, master: str) -> None:
        self._master = master
        self._images: MasterImages | None = None

    def look(self, seen: int, limit: int) -> Answer:
        """Return how many of the mapped images are stored, in order, besides those seen; at most `limit`.

        Raises
        ------
        UnusableMaster
            The master or a data file isn't what it should be.
        """
        found, waiting_for = 0, None
        try:
            images = self._open_master(seen)
            while found < limit and (nth := open_nth(images, seen + found)) is not None:
                image, block, frames = nth
                _require_settled(block, frames)
                wanted = min(limit - found, block.end - image) if images.layout.is_by_frame else 1
                there = _count_stored(images, image, wanted, block, frames)
                found += there
                if there < wanted:
                    waiting_for = f"image {image + there + 1} in {_place_of_next(images, image + there, block)}"
                    break
        except NotReady as error:
            waiting_for = str(error)
            self.close()
        if self._images is None:
            return Answer(found, None, waiting_for)
        layout = self._images.layout
        expected = sum(each.end - each.first for each in layout.mapped) + layout.unmapped
        if found < limit and not waiting_for and layout.awaits:
            waiting_for = str(layout.awaits)
            self._forget()  # what comes next is seen when the master is opened anew
        return Answer(found, expected or None, waiting_for, layout.mapped)

    def _open_master(self, seen: int) -> MasterImages:
        """Return the master's images: by its layout as read before, unless a file that says it has changed since."""
        if self._images is None or not self._images.is_current:
            self._forget()  # the old layout holds no longer, even if the new one can't be read yet
            self._images = open_mapped(self._master, seen)
        return self._images

    def _forget(self) -> None:
        self.close()
        self._images = None

    def close(self) -> None:
        """Close the data files."""
        if self._images:
            self._images.close()


def open_mapped(master: str, seen: int) -> MasterImages:
    """Read the layout of a master that says how many images there will be: it maps so many, or its scan has so many.

    The files of the images that were seen are opened once: which images follow them isn't known before.

    Raises
    ------
    NotReady
        The master, or the file of an image that was seen, isn't there, or is in the making.
    UnusableMaster
        It says nothing of it, or has something else than images.
    """
    images = MasterImages.of(master)
    layout = images.layout
    if not layout.is_virtual and len(layout.frame_shape) != IMAGE_AXES:
        raise UnusableMaster(
            f"{master} should have a virtual dataset {layout.dataset}, as NXmx masters have, or a stack of images"
        )
    if layout.end >= FAR or (layout.is_virtual and layout.awaits):
        count = count_scanned(master)
        if count is None:
            raise UnusableMaster(
                f"{master}: {layout.dataset} should map a known number of images; this one has no end, "
                "and the sample's axes don't say how many there will be"
            )
        images.layout = layout.until(count)
    elif layout.awaits:
        raise layout.awaits
    try:
        number = 0
        while number < seen and (nth := open_nth(images, number)) is not None:
            image, block, _ = nth
            number += block.end - image
    except BaseException:
        images.close()
        raise
    return images


def open_nth(images: MasterImages, number: int) -> tuple[int, ImageBlock, StackOfFrames] | None:
    """Open the nth (from 0) of the images that are mapped: which one it is, its block, its dataset; None: fewer are.

    What the master maps may itself be a virtual dataset with gaps, which is seen when its file is opened: then another
    image may be the nth.

    Raises
    ------
    NotReady
        Its file isn't there or is in the making.
    UnusableMaster
        The file isn't what it should be.
    """
    while True:
        layout = images.layout
        image = nth_image(layout.mapped, number)
        if image is None:
            return None
        try:
            block, frames = images.open(image)
        except NoSuchImage:
            if images.layout is layout:
                raise
        else:
            if images.layout is layout:
                return image, block, frames


def _require_settled(block: ImageBlock, frames: StackOfFrames) -> None:
    """Make sure that a file isn't being written whose images get all their space with the first one.

    Raises
    ------
    NotReady
        It may be.
    """
    dataset = frames.dataset
    if dataset.chunks is not None or dataset.external or block.frame is None:
        return
    place = dataset.file.filename
    age_s = seconds_since_written(place)
    if age_s is None or age_s < SETTLED_S:
        raise NotReady(
            place,
            f"has just been written: the dataset {block.dataset} isn't chunked, so nothing says which images are there",
        )


def _count_stored(images: MasterImages, image: int, wanted: int, block: ImageBlock, frames: StackOfFrames) -> int:
    """Return how many images are stored without a gap, from one on, at most `wanted`."""
    if images.layout.is_by_frame:
        return frames.count_stored(block.frame_of(image), wanted)
    return int(images.is_stored(image))


def _place_of_next(images: MasterImages, image: int, block: ImageBlock) -> str | None:
    """Return the file of the image that isn't stored, or of its part."""
    unstored = block if images.layout.is_by_frame else images.find_unstored(image) or block
    return unstored.file.find()


def nth_image(mapped: tuple[MappedRange, ...], number: int) -> int | None:
    """Return which image is the nth (from 0) of those that are mapped; None if there are fewer.

    >>> mapped = (MappedRange(0, 4), MappedRange(6, 10))
    >>> [nth_image(mapped, number) for number in (0, 3, 4, 7, 8)]
    [0, 3, 6, 9, None]
    """
    for each in mapped:
        if number < each.end - each.first:
            return each.first + number
        number -= each.end - each.first
    return None


def main() -> None:
    """Answer questions, one JSON line each, until there are no more: when the asker is gone, so is this."""
    os.environ["HDF5_USE_FILE_LOCKING"] = "FALSE"  # before h5py is imported: HDF5 reads it once
    counter = ImageCounter(sys.argv[1])
    with lines_to_parent() as send:
        for line in sys.stdin:
            try:
                answer = asdict(counter.look(**json.loads(line)))
            except UnusableMaster as error:
                answer = {"error": str(error)}
            send(json.dumps(answer))


if __name__ == "__main__":
    main()
