"""Count the images in each file of a master's data set."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tasks.nexus.errors import FileBusy, NotReady, UnusableMaster
from tasks.nexus.links import LinkedFile
from tasks.nexus.mapping import map_images
from tasks.nexus.master import DATA_GROUP, IMAGE_AXES, find_data_group, find_images, find_series, opened
from tasks.nexus.related import list_linked_files
from tasks.nexus.storage import is_stored
from tasks.nexus.tree import MasterTree

if TYPE_CHECKING:
    import h5py


def count_images(master: str) -> dict[str, int | None]:
    """Return all files of a data set with the number of images in each; None for one that is missing or unreadable.

    Files are the master, those that hold its images, and all that their links and virtual datasets name. A dataset
    whose last image isn't stored counts as none.

    Raises
    ------
    NotReady
        The master is in the making, or a file of it can't be read for the moment.
    UnusableMaster
        It's no NeXus master, or links two datasets of images in one data file.
    """
    master = os.path.abspath(master)  # noqa: PTH100 - tidy, so that it's listed once
    counts = _count_in_data_files(master, _find_sources(master))
    files = _list_related(master)
    return (
        {master: counts.pop(master, None) or 0}
        | counts
        | {file: files[file] for file in sorted(files) if file not in counts}
    )


def _find_sources(master: str) -> list[tuple[LinkedFile, str]]:
    """Return the datasets that stand for images in a master: file, and path in it."""
    with MasterTree(master) as tree:
        if find_data_group(tree) is None:
            raise UnusableMaster(f"{master} should be a NeXus file with a group {DATA_GROUP}, and has none")
        targets = [tree.follow(name) for name in dict.fromkeys([*find_images(tree), *find_series(tree)])]
    return [(target.file or LinkedFile.itself(master), target.path) for target in targets if target]


def _count_in_data_files(master: str, sources: Iterable[tuple[LinkedFile, str]]) -> dict[str, int | None]:
    counts: dict[str, int | None] = {}
    # A dataset is counted once, though the virtual dataset and the links `data_000001` … both lead to it.
    counted: set[tuple[str, str]] = set()
    seen: set[tuple[LinkedFile, str]] = set()
    linked: set[str] = set()
    pending = deque((source, False) for source in sources)
    while pending:
        source, is_mapped = pending.popleft()
        if source in seen:
            continue
        seen.add(source)
        try:
            with opened(*source) as (dataset, place):
                if dataset.is_virtual:
                    blocks = map_images(dataset, place).blocks
                    pending.extendleft(((block.file, block.dataset), True) for block in blocks[::-1])
                    continue
                place, name, count = tidy(place), dataset.name, _count_frames(dataset)
        except FileBusy:  # it may well be whole
            raise
        except (NotReady, UnusableMaster) as error:
            place, name, count = tidy(error.file or source[0].expected), "/" + source[1].strip("/"), None
        if (place, name) in counted:
            continue
        counted.add((place, name))
        # As Zocalo's parser; a virtual dataset says which it takes, and a master may well have several of its own.
        if not is_mapped and place != master:
            if place in linked:
                raise UnusableMaster(f"{master} links two data sets to {place}: how many images it holds isn't clear")
            linked.add(place)
        counts[place] = (counts[place] or 0) + (count or 0) if place in counts else count
    return counts


def _count_frames(dataset: h5py.Dataset) -> int | None:
    """Return a dataset's frames; none if the last isn't stored: the shape may be full from the start."""
    shape = dataset.shape
    if not shape:
        return None
    if len(shape) <= IMAGE_AXES:  # a single image
        return int(is_stored(dataset, None))
    return shape[0] if shape[0] == 0 or is_stored(dataset, shape[0] - 1) else 0


def _list_related(master: str) -> dict[str, int | None]:
    """Return the files that a master's links name, and the links in those: 0 for those that are there."""
    files: dict[str, int | None] = {}
    pending = [master]
    while pending:
        try:
            linked_files = list_linked_files(pending.pop())
        except FileBusy:
            raise
        except (NotReady, UnusableMaster):
            continue
        for linked in linked_files:
            place = linked.find()
            path = tidy(place or linked.expected)
            if path not in files and path != master:
                files[path] = None if place is None else 0
                pending += [place] if place else []
    return files


def tidy(path: str) -> str:
    """Return a path without `.` and `..`, unless symbolic links give these another meaning."""
    tidied = os.path.normpath(path)
    return tidied if os.path.realpath(tidied) == os.path.realpath(path) else path
