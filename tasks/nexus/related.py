"""All files that belong to a master: what its links and virtual datasets name, and the links in those files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tasks.nexus.errors import NotReady
from tasks.nexus.links import LinkedFile, follow
from tasks.nexus.opening import not_ready_or_unusable, open_file

if TYPE_CHECKING:
    import h5py

METADATA_CLASSES = ("NXdetector", "NXdetector_module")
"""Whose fields DIALS needs for a right answer: it takes a mask whose file is missing for no mask."""


def list_linked_files(path: str) -> list[LinkedFile]:
    """Return the files that a file's links and virtual datasets name, each once.

    Raises
    ------
    NotReady
        The file isn't there, or is in the making.
    UnusableMaster
        It can't be read.
    """
    with open_file(path) as file:
        try:
            return list(dict.fromkeys(named for group in _groups(file) for named in _files_named_in(group, path)))
        except (OSError, RuntimeError, KeyError) as error:
            raise not_ready_or_unusable(error, path) from error


def require_metadata(master: str) -> None:
    """Make sure that the files are there to which fields of the detector, such as the mask, are links.

    Raises
    ------
    NotReady
        One isn't there, or is in the making.
    UnusableMaster
        One can't be read.
    """
    for name, linked in _list_metadata(master):
        place = linked.find()
        if place is None:
            raise NotReady(linked.expected, f"isn't there: {name} of {master} is a link to it")
        open_file(place).close()


def _list_metadata(master: str) -> list[tuple[str, LinkedFile]]:
    """Return the links among the detector's fields, one a file."""
    found: dict[LinkedFile, str] = {}
    with open_file(master) as file:
        try:
            for group in _groups(file):
                if _class_of(group) in METADATA_CLASSES:
                    for name in group:
                        target = follow(file, master, f"{group.name}/{name}")
                        if target is not None and target.file is not None:
                            found.setdefault(target.file, name)
        except (OSError, RuntimeError, KeyError) as error:
            raise not_ready_or_unusable(error, master) from error
    return [(name, linked) for linked, name in found.items()]


def _groups(group: h5py.Group, visited: set[object] | None = None) -> Iterator[h5py.Group]:
    """Yield a group and the groups in it, each once: hard links may go in circles."""
    import h5py

    visited = set() if visited is None else visited
    visited.add(group.id)
    yield group
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.HardLink) and group.get(name, getclass=True) is h5py.Group:
            child = group[name]
            if child.id not in visited:
                yield from _groups(child, visited)


def _files_named_in(group: h5py.Group, holder: str) -> Iterator[LinkedFile]:
    import h5py

    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            yield LinkedFile.named(link.filename, holder)
        elif isinstance(link, h5py.HardLink) and group.get(name, getclass=True) is h5py.Dataset:
            dataset = group[name]
            if dataset.is_virtual:
                for source in dataset.virtual_sources():
                    if source.file_name != ".":
                        yield LinkedFile.mapped(source.file_name, holder)


def _class_of(group: h5py.Group) -> str:
    value = group.attrs.get("NX_class", "")
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
