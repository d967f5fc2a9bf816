"""Which images a file holds, and which of them are stored."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tasks.diffraction.answers import StoredImages, UnreadFile
from tasks.diffraction.image_files.data_set import DataSet
from tasks.diffraction.image_files.data_sets import DataSets
from tasks.diffraction.requests import ContentRequest
from tasks.nexus.errors import FileAbsent, HeldByWriter, NoSuchImage, NotReady, UnusableMaster
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
            return StoredImages(tuple(range(1, count + 1)), count, count, _parts_of(data_set))
        return replace(_find_stored(data_set.images, count), parts=_parts_of(data_set))


def _find_stored(images: MasterImages, scanned: int) -> StoredImages:
    """Find the images of a master that are stored.

    Parameters
    ----------
    scanned
        How many the scan has: an aborted one maps fewer; a master whose data files come one by one maps fewer yet.
    """
    stored: list[int] = []
    unread: dict[str, UnreadFile] = {}
    mapped = image = 0
    while image < min(images.layout.end, max(scanned, 1) if images.layout.end >= FAR else FAR):
        seen = _look(images, image, scanned)
        stored += range(image + 1, image + seen.stored + 1)
        if seen.lack is not None:
            unread.setdefault(seen.lack.file, _unread(seen.lack, image))
        image += seen.looked_at
        mapped += seen.looked_at if seen.are_mapped else 0
    if (awaited := images.layout.awaits) is not None:
        unread.setdefault(awaited.file, _unread(awaited, image))
    expected = max(mapped + images.layout.unmapped, scanned if awaited else 0)
    return StoredImages(tuple(stored), expected, max(image, expected), unread=tuple(unread.values()))


def _unread(lack: NotReady, image: int) -> UnreadFile:
    return UnreadFile(lack.file, lack.reason, image + 1, isinstance(lack, FileAbsent | HeldByWriter))


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is seen of some images from one on.

    Parameters
    ----------
    stored
        How many of them are stored, at the beginning.
    looked_at
        How many they are.
    are_mapped
        A file is mapped to them.
    lack
        Why their file can't be read.
    """

    stored: int
    looked_at: int
    are_mapped: bool = True
    lack: NotReady | None = None


def _look(images: MasterImages, image: int, scanned: int) -> _Seen:
    """Look at some images from one (from 0) on."""
    try:
        block, frames = images.open(image)
        if not images.layout.is_by_frame:
            return _Seen(int(images.is_stored(image)), 1)
        wanted = min(block.end, scanned if block.end >= FAR else FAR) - image
        there = frames.count_stored(block.frame_of(image), wanted)
    except NoSuchImage:  # a gap between those that are mapped
        return _Seen(0, 1, are_mapped=False)
    except NotReady as lack:  # none of the data file's images is there
        end = min(images.layout.find(image).end, max(scanned, image + 1))
        return _Seen(0, max(1, end - image), lack=lack)
    except UnusableMaster:  # whoever reads the image is told why it can't be
        return _Seen(1, 1)
    return _Seen(there, max(1, there))


def _parts_of(data_set: DataSet) -> tuple[str, ...]:
    if data_set.content is not None:
        return ()
    try:
        linked = list_linked_files(data_set.file)
    except (NotReady, UnusableMaster):  # no HDF5, such as a stack of an electron microscope
        return ()
    return tuple(place for file in linked if (place := file.find()) is not None)
