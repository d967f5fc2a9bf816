"""Read the layout of a master. It's opened for that, then closed: see `tasks.nexus.images`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from tasks.file_version import FileVersion, file_version
from tasks.nexus.errors import FileAbsent, NoImages, NoImagesYet, NotReady, UnusableMaster
from tasks.nexus.layout import SERIES, ImageBlock, Layout
from tasks.nexus.links import LINKS_IN_A_ROW, LinkedFile, follow
from tasks.nexus.mapping import map_images
from tasks.nexus.opening import faults_at, in_the_making, open_file
from tasks.nexus.storage import fills_its_bytes
from tasks.nexus.tree import MasterTree

if TYPE_CHECKING:
    import h5py

DATA_GROUP, DATA = "/entry/data", "data"
IMAGE_AXES = 2


@contextmanager
def opened(
    file: LinkedFile, path: str, versions: dict[str, FileVersion | None] | None = None
) -> Iterator[tuple[h5py.Dataset, str]]:
    """Open the dataset that a path in a file leads to, in whichever file that is; with it comes that file's path.

    Raises
    ------
    NotReady
        A file on the way isn't there, or is in the making.
    UnusableMaster
        A file can't be read, or has something else there.
    """
    dataset, place = open_dataset(file, path, versions=versions)
    with dataset.file:
        yield dataset, place


@contextmanager
def closed_at_fault(file: h5py.File) -> Iterator[None]:
    """Close a file when something goes wrong: with one handle more, HDF5 can read the wrong image."""
    try:
        yield
    except BaseException:
        file.close()
        raise


def open_dataset(
    file: LinkedFile,
    path: str,
    open_file: Callable[[str], h5py.File] = open_file,
    versions: dict[str, FileVersion | None] | None = None,
) -> tuple[h5py.Dataset, str]:
    """Do the same as `opened`, without closing the dataset's file.

    Parameters
    ----------
    versions
        Gets each file that says where images are, as it was before it was opened: not one that only holds them.
    """
    import h5py

    for _ in range(LINKS_IN_A_ROW):
        place = file.find()
        if place is None:
            raise FileAbsent(file.expected)
        version, opened_file = file_version(place), open_file(place)
        with closed_at_fault(opened_file):
            with faults_at(place):
                target = follow(opened_file, place, path)
                found = opened_file[target.path] if target and target.file is None else None
            if target is None:
                raise in_the_making(place, f"has no dataset {path}")
            if found is not None and not isinstance(found, h5py.Dataset):
                raise UnusableMaster(
                    f"{place} should have a virtual dataset {path}, or a plain one; it has a group there"
                )
        if versions is not None and (found is None or found.is_virtual):
            versions[place] = version
        if found is not None:
            return found, place
        opened_file.close()
        assert target.file is not None, "what isn't in this file is in another one"
        file, path = target.file, target.path
    raise UnusableMaster(f"{file.expected}: {path} is a link that leads back to itself")


def read_layout(master: str) -> Layout:
    """Read which frames of which files the images of a master are.

    Raises
    ------
    NotReady
        The master, or a file on the way to what it says of its images, isn't there or is in the making.
    UnusableMaster
        It's no NXmx master, or its images aren't frames of datasets.
    """
    with MasterTree(master) as tree:
        names = find_images(tree)
        if not names:
            raise _lacks_images(tree)
        versions = tree.versions
    return _read_blocks(master, names, versions)


def _lacks_images(tree: MasterTree) -> NotReady | UnusableMaster:
    wanted = f"a virtual dataset {DATA_GROUP}/{DATA}, or links data_000001, … to its data files"
    entry = tree.get(find_entry(tree))
    if entry is None or not entry.is_group:
        return NoImages(f"{tree.master} should have {wanted}")
    fault = in_the_making(tree.master, "has no images", f": {wanted}")
    return NoImagesYet(fault.file, fault.reason) if isinstance(fault, NotReady) else NoImages(str(fault))


def _read_blocks(master: str, names: tuple[str, ...], versions: dict[str, FileVersion | None]) -> Layout:
    """Read the layout of images that stand in one dataset, or in several, one after the other."""
    layout: Layout | None = None
    for name in names:
        first = layout.end if layout else 0
        try:
            with faults_at(master), opened(LinkedFile.itself(master), name, versions) as (dataset, place):
                part = _describe(master, name, dataset, place, first)
                if part.is_series:  # how many images one has numbers those of the next
                    versions[place] = file_version(place)
                # A dataset that may grow has no last image, unless others follow it.
                if len(names) == 1 and not part.is_virtual and dataset.maxshape[0] is None:
                    part = replace(part, blocks=(replace(part.blocks[0], count=None),))
        except NotReady as error:
            if layout is None:
                raise
            return replace(layout, awaits=error, read_from=versions)
        layout = replace(layout, blocks=layout.blocks + part.blocks) if layout else part
    assert layout is not None
    if not layout.blocks and not layout.awaits:
        raise UnusableMaster(f"{master}: {layout.dataset} maps no images")
    return replace(layout, read_from=versions)


def _describe(master: str, name: str, dataset: h5py.Dataset, place: str, first: int) -> Layout:
    if not dataset.shape:
        raise UnusableMaster(f"{master} should have images at {name}; it has a single number there")
    if dataset.is_virtual:
        mapping = map_images(dataset, place)
        blocks = tuple(replace(block, first=first + block.first) for block in mapping.blocks)
        is_full = fills_its_bytes(dataset)
        return Layout(master, name, blocks, dataset.shape[1:], dataset.dtype, is_full, awaits=mapping.awaits)
    blocks = (ImageBlock(first, dataset.shape[0], LinkedFile.itself(place), dataset.name),)
    return Layout(master, name, blocks, dataset.shape[1:], dataset.dtype if place == master else None, is_virtual=False)


def find_images(tree: MasterTree) -> tuple[str, ...]:
    """Find the dataset of a master's images, or its links to several, in order.

    As NeXus and dxtbx do: the `signal` of the first NXdata in the first NXmx entry. Where no signal is named, or none
    of that name is there, it's the first dataset, as dxtbx has it; where that holds no images, the one that is called
    `data`. Links `data_000001` … stand for it, as in Dectris's own masters.
    """
    path = find_data_group(tree)
    group = tree.get(path) if path else None
    if group is None:
        return ()
    names = group.members
    series = tuple(f"{path}/{name}" for name in sorted(names) if name.startswith(SERIES))
    signal = group.attribute("signal")
    if signal in names:
        return (f"{path}/{signal}",)
    if not names or names[0].startswith(SERIES):
        return series
    first = f"{path}/{names[0]}"
    holds_images = _holds_images(tree, first)
    if holds_images:
        return (first,)
    if DATA in names:
        return (f"{path}/{DATA}",)
    return series or ((first,) if holds_images is None else ())


def _holds_images(tree: MasterTree, path: str) -> bool | None:
    """Tell whether a path leads to a stack of images; None while the file isn't there that it leads to."""
    try:
        found = tree.get(path)
    except NotReady:
        return None
    return found is not None and not found.is_group and len(found.object.shape or ()) > IMAGE_AXES


def find_series(tree: MasterTree) -> tuple[str, ...]:
    """Return a master's links `data_000001` … to data files, or datasets of such names, in order."""
    path = find_data_group(tree)
    group = tree.get(path) if path else None
    return tuple(f"{path}/{name}" for name in sorted(group.members) if name.startswith(SERIES)) if group else ()


def find_data_group(tree: MasterTree) -> str | None:
    """Return the path of the group of a master's images: it's there, or a link to another file that isn't."""
    entry = find_entry(tree)
    path = f"{entry}/{DATA}"
    try:
        labelled = tree.first_of(entry, "NXdata")
        group = tree.get(path)
    except NotReady:
        return path
    return labelled or (path if group and group.is_group else None)


def find_entry(tree: MasterTree) -> str:
    """Return the path of a master's entry: the first one that says it's NXmx, else the first."""
    try:
        entries = list(tree.all_of("/", "NXentry"))
    except (NotReady, UnusableMaster):  # not all that the root links to is an entry
        entries = []
    for entry in entries:
        definition = tree.get(f"{entry}/definition")
        if definition and definition.text == "NXmx":
            return entry
    return entries[0] if entries else "/entry"
