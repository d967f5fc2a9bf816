"""Where an NXmx master's images are: the data files behind its virtual dataset or its links."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from blocks.errors import PlazaError

IMAGES = "/entry/data/data"


class UnusableMaster(PlazaError):
    """A file is no NXmx master whose images lie in data files beside it."""


@dataclass(frozen=True)
class DataFile:
    """Some of a master's images, in order: a file beside it, the dataset in it, and the frames that has room for."""

    file: str
    dataset: str
    frames: int


def read_layout(master: Path) -> tuple[DataFile, ...]:
    """Return a master's data files in the order of their images.

    Raises
    ------
    UnusableMaster
        It has no images in data files beside it, or one of these isn't there.
    """
    with h5py.File(master, "r") as file:
        links = _list_sources(file, master)
    parts = []
    for name, dataset in links:
        if Path(name).name != name:
            raise UnusableMaster(f"{master} names the data file {name!r}; expected a file beside it, without a folder")
        path = master.with_name(name)
        if not path.is_file():
            raise UnusableMaster(
                f"{master.name} names the data file {name}, which isn't in {master.parent}: add it there"
            )
        with h5py.File(path, "r") as data:
            parts.append(DataFile(name, dataset, int(data[dataset].shape[0])))
    return tuple(parts)


def count_recorded(master: Path) -> int:
    """Count the images that are there, up to the first that isn't: an absent frame reads as zeros."""
    recorded = 0
    for part in read_layout(master):
        with h5py.File(master.with_name(part.file), "r") as data:
            there = _count_frames(data[part.dataset], part.frames)
        recorded += there
        if there < part.frames:
            break
    return recorded


def _count_frames(images: Any, room: int) -> int:
    absent = (frame for frame in range(room) if not images.id.get_chunk_info_by_coord((frame, 0, 0)).size)
    return next(absent, room)


def _list_sources(file: Any, master: Path) -> list[tuple[str, str]]:
    """List (file name, dataset) of the images; a source `.` stands for a link within the master."""
    if IMAGES in file and not file[IMAGES].is_virtual:
        raise UnusableMaster(f"{master} holds its images itself; expected them in data files beside it")
    if IMAGES in file:
        sources = [(source.file_name, source.dset_name) for source in file[IMAGES].virtual_sources()]
    else:  # Dectris' own masters only have links
        sources = [
            (".", f"/entry/data/{name}") for name in sorted(file.get("/entry/data", ())) if name.startswith("data_")
        ]
    if not sources:
        raise UnusableMaster(f"{master} has no images at {IMAGES}: it's no NXmx master")
    resolved = [_follow_link(file, dataset, master) if name == "." else (name, dataset) for name, dataset in sources]
    return list(dict.fromkeys(resolved))


def _follow_link(file: Any, dataset: str, master: Path) -> tuple[str, str]:
    link = file.get(dataset, getlink=True)
    if not isinstance(link, h5py.ExternalLink):
        raise UnusableMaster(f"{dataset} in {master} is no link to a data file")
    return link.filename, link.path
