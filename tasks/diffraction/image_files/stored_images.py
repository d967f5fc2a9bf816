"""Which images a file holds, and which of them are stored."""

from __future__ import annotations

from tasks.diffraction.answers import StoredImages
from tasks.diffraction.image_files.data_set import DataSet
from tasks.diffraction.image_files.data_sets import DataSets
from tasks.diffraction.requests import ContentRequest
from tasks.nexus.errors import NoSuchImage, NotReady, UnusableMaster
from tasks.nexus.images import MasterImages
from tasks.nexus.layout import FAR
from tasks.nexus.related import list_linked_files


def list_stored(request: ContentRequest, data_sets: DataSets) -> StoredImages:
    """Say which images a file holds.

    Raises
    ------
    ImageUnreadable
        The file is missing or no image.
    """
    with data_sets.using(request.file) as data_set:
        count = sum(len(imageset) for imageset in data_set.experiments.imagesets())
        if data_set.images is None:  # all that dxtbx sees is there
            return StoredImages(tuple(range(1, count + 1)), count, _parts_of(data_set))
        stored, expected = _find_stored(data_set.images, count)
        return StoredImages(stored, expected, _parts_of(data_set))


def _find_stored(images: MasterImages, scanned: int) -> tuple[tuple[int, ...], int]:
    """Return the numbers (from 1) of the images that are stored, and how many there are to be.

    Parameters
    ----------
    scanned
        How many the scan has: an aborted one maps fewer; a master whose data files come one by one maps fewer yet.
    """
    stored: list[int] = []
    mapped = image = 0
    while image < min(images.layout.end, max(scanned, 1) if images.layout.end >= FAR else FAR):
        there, looked_at, are_mapped = _look(images, image, scanned)
        stored += range(image + 1, image + there + 1)
        image += looked_at
        mapped += looked_at if are_mapped else 0
    awaited = images.layout.awaits is not None
    return tuple(stored), max(mapped + images.layout.unmapped, scanned if awaited else 0)


def _look(images: MasterImages, image: int, scanned: int) -> tuple[int, int, bool]:
    """Look at some images from one (from 0) on.

    Returns
    -------
    tuple[int, int, bool]
        How many of them are stored, at the beginning; how many were looked at; whether a file is mapped to them.
    """
    try:
        block, frames = images.open(image)
        if not images.layout.is_by_frame:
            return int(images.is_stored(image)), 1, True
        wanted = min(block.end, scanned if block.end >= FAR else FAR) - image
        there = frames.count_stored(block.frame_of(image), wanted)
    except NoSuchImage:  # a gap between those that are mapped
        return 0, 1, False
    except NotReady:  # none of the data file's images is there
        return 0, max(1, min(images.layout.find(image).end, max(scanned, image + 1)) - image), True
    except UnusableMaster:  # whoever reads the image is told why it can't be
        return 1, 1, True
    return there, max(1, there), True


def _parts_of(data_set: DataSet) -> tuple[str, ...]:
    if data_set.content is not None:
        return ()
    try:
        linked = list_linked_files(data_set.file)
    except (NotReady, UnusableMaster):  # no HDF5, such as a stack of an electron microscope
        return ()
    return tuple(place for file in linked if (place := file.find()) is not None)
