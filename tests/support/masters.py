"""Make masters and data files of tiny images, each filled with a number of its own."""

import h5py
import numpy as np

SHAPE = (3, 2)
LIBVER = ("v110", "v110")


def write_frames(path, first, count, stored=None, dataset="data", chunk=1):
    """Write frames that hold first, first + 1, …; all of them, or the first few, are stored."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "a", libver=LIBVER) as file:
        data = file.create_dataset(dataset, (count, *SHAPE), "u4", chunks=(chunk, *SHAPE))
        for frame in range(count if stored is None else stored):
            data[frame] = first + frame


def write_virtual(path, size, mappings, dataset="entry/data/data", shape=SHAPE):
    """Write a virtual dataset of mappings (images, file name, dataset, its length or None for one image, frames)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    layout = h5py.VirtualLayout((size, *shape), "u4")
    for images, name, source, length, frames in mappings:
        layout[images] = h5py.VirtualSource(name, source, shape if length is None else (length, *shape), "u4")[frames]
    with h5py.File(path, "a", libver=LIBVER) as file:
        file.create_virtual_dataset(dataset, layout, fillvalue=0)


def write_link(path, name, target, dataset="data"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "a", libver=LIBVER) as file:
        file[name] = h5py.ExternalLink(target, dataset)


def read_through(master, dataset="entry/data/data"):
    """Return each image's number as HDF5 itself reads it through the master; 0: there is none."""
    with h5py.File(master, "r") as file:
        return [int(number) for number in np.asarray(file[dataset])[:, 0, 0]]
