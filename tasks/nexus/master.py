"""Read the layout of a master. It's opened for that, then closed: see `tasks.nexus.images`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from tasks.nexus.errors import FileAbsent, NotReady, UnusableMaster
from tasks.nexus.layout import ImageBlock, Layout
from tasks.nexus.links import LINKS_IN_A_ROW, LinkedFile, Target, follow
from tasks.nexus.mapping import map_images
from tasks.nexus.opening import not_ready_or_unusable, open_file

if TYPE_CHECKING:
    import h5py

DATA_GROUP, DATA = "/entry/data", "data"


@contextmanager
def opened(file: LinkedFile, path: str) -> Iterator[tuple[h5py.Dataset, str]]:
    """Open the dataset that a path in a file leads to, in whichever file that is; with it comes that file's path.

    Raises
    ------
    NotReady
        A file on the way isn't there, or is in the making.
    UnusableMaster
        A file can't be read, or has something else there.
    """
    dataset, place = open_dataset(file, path)
    with dataset.file:
        yield dataset, place


def open_dataset(
    file: LinkedFile, path: str, open_file: Callable[[str], h5py.File] = open_file
) -> tuple[h5py.Dataset, str]:
    """Do the same as `opened`, without closing the dataset's file."""
    import h5py

    target: Target | None = Target(path, file)
    for _ in range(LINKS_IN_A_ROW):
        assert target is not None
        assert target.file is not None
        place = target.file.find()
        if place is None:
            raise FileAbsent(target.file.expected)
        path, opened_file = target.path, open_file(place)
        try:
            target = follow(opened_file, place, path)
            if target is None:
                raise NotReady(place, f"can't be read yet (no dataset {path} yet)")
            if target.file is None:
                found = opened_file[target.path]
                if not isinstance(found, h5py.Dataset):
                    raise UnusableMaster(
                        f"{place} should have a virtual dataset {path}, or a plain one; it has a group there"
                    )
                return found, place
        except (OSError, RuntimeError, KeyError) as error:
            opened_file.close()
            raise not_ready_or_unusable(error, place) from error
        except BaseException:  # no handle may stay: with one more open, HDF5 can read the wrong image
            opened_file.close()
            raise
        opened_file.close()
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
    with open_file(master) as file:
        try:
            names = find_images(file, master)
        except (OSError, RuntimeError, KeyError) as error:
            raise not_ready_or_unusable(error, master) from error
    if not names:
        raise UnusableMaster(
            f"{master} should have a virtual dataset {DATA_GROUP}/{DATA}, or links data_000001, … to its data files"
        )
    return _read_blocks(master, names)


def _read_blocks(master: str, names: tuple[str, ...]) -> Layout:
    """Read the layout of images that stand in one dataset, or in several, one after the other."""
    layout: Layout | None = None
    for name in names:
        first = layout.end if layout else 0
        try:
            with opened(LinkedFile.itself(master), name) as (dataset, place):
                part = _describe(master, name, dataset, place, first)
                # A dataset that may grow has no last image, unless others follow it.
                if len(names) == 1 and not part.is_virtual and dataset.maxshape[0] is None:
                    part = replace(part, blocks=(replace(part.blocks[0], count=None),))
        except NotReady as error:
            if layout is None:
                raise
            return replace(layout, awaits=error)
        except (OSError, RuntimeError, KeyError) as error:
            raise not_ready_or_unusable(error, master) from error
        layout = replace(layout, blocks=layout.blocks + part.blocks) if layout else part
    assert layout is not None
    if not layout.blocks:
        raise UnusableMaster(f"{master}: {layout.dataset} maps no images")
    return layout


def _describe(master: str, name: str, dataset: h5py.Dataset, place: str, first: int) -> Layout:
    if not dataset.shape:
        raise UnusableMaster(f"{master} should have images at {name}; it has a single number there")
    if dataset.is_virtual:
        blocks = map_images(dataset, place)
        dtype = dataset.dtype
    else:
        blocks = (ImageBlock(first, dataset.shape[0], LinkedFile.itself(place), dataset.name),)
        dtype = dataset.dtype if place == master else None
    return Layout(master, name, blocks, dataset.shape[1:], dtype, dataset.is_virtual)


def find_images(file: h5py.File, holder: str) -> tuple[str, ...]:
    """Find the dataset of a master's images, or its links to several, in order.

    As NeXus and dxtbx do: the `signal` of the first NXdata in the first NXentry. Where no signal is named, it's called
    `data`; where there is none of that name, links `data_000001` … stand for it, as in Dectris's own masters.
    """
    path = find_data_group(file, holder)
    if path is None:
        return ()
    target = follow(file, holder, path)
    if target is not None and target.file is not None:
        return (f"{path}/{DATA}",)
    group = file[path]
    for name in (_text(group.attrs.get("signal")), DATA):
        if name and group.get(name, getlink=True) is not None:
            return (f"{path}/{name}",)
    return find_series(file, holder)


def find_series(file: h5py.File, holder: str) -> tuple[str, ...]:
    """Return a master's links `data_000001` … to data files, or datasets of such names, in order."""
    path = find_data_group(file, holder)
    target = follow(file, holder, path) if path else None
    if target is None or target.file is not None:
        return ()
    return tuple(f"{path}/{name}" for name in sorted(file[target.path]) if name.startswith("data_"))


def find_data_group(file: h5py.File, holder: str) -> str | None:
    """Return the path of the group of a master's images: it's there, or a link to another file."""
    import h5py

    entry = _find_class(file, "NXentry") or "/entry"
    target = follow(file, holder, entry)
    if target is None:
        return None
    path = f"{entry}/data"
    if target.file is None and isinstance(file[target.path], h5py.Group):
        path = _find_class(file[target.path], "NXdata") or path
    target = follow(file, holder, path)
    is_group = target is not None and (target.file is not None or isinstance(file[target.path], h5py.Group))
    return path if is_group else None


def _find_class(group: h5py.Group, nx_class: str) -> str | None:
    """Return the path of the first group of a NeXus class that stands in a group; no other file is opened for it."""
    import h5py

    # Only what stands in the file itself: to ask a link for its class, HDF5 would open the file it leads to.
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue
        child = group[name]
        if isinstance(child, h5py.Group) and _text(child.attrs.get("NX_class")) == nx_class:
            return str(child.name)
    return None


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else None
