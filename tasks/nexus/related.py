"""All files that belong to a master: what its links and virtual datasets name, and the links in those files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tasks.nexus.links import LinkedFile
from tasks.nexus.mapping import list_sources
from tasks.nexus.opening import faults_at, open_file

if TYPE_CHECKING:
    import h5py


def list_linked_files(path: str) -> list[LinkedFile]:
    """Return the files that a file's links and virtual datasets name, each once.

    Raises
    ------
    NotReady
        The file isn't there, or is in the making.
    UnusableMaster
        It can't be read.
    """
    with open_file(path) as file, faults_at(path):
        return list(dict.fromkeys(named for group in _groups(file) for named in _files_named_in(group, path)))


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
            yield from (LinkedFile.raw(name, holder) for name, *_ in dataset.external or ())
            if dataset.is_virtual:
                yield from list_sources(dataset, holder)
