"""Let images that lie ready in a folder appear in another one, at a rate: what a detector's file writer does.

CBFs appear by rename; NXmx as SWMR: companions and the closed master first, then each data file's chunks as they are,
compressed, each flushed by itself.
"""

import shutil
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from tasks.simulation.image_set import ImageSet
from tasks.simulation.plan import ImageFormat

BITSHUFFLE = 32008  # the filter's number with the HDF Group

Landing = Callable[[], object]
"""Makes one image appear; what can be done before is done."""


def place(sweep: ImageSet, destination: Path, rate_hz: float) -> Iterator[float]:
    """Place a sweep's recorded images; yields the time (s since the epoch) at which each one is there.

    Images have due times: a late one is not made up for by a slower pace, so the mean rate holds if the machine can.
    """
    for name in sweep.companions:
        place_file(sweep.folder / name, destination / name)()
    land_images = place_frames if sweep.image_format is ImageFormat.NXS else place_files
    with closing(land_images(sweep, destination)) as landings:
        start = None
        for index, land in enumerate(landings):
            start = time.monotonic() if start is None else start
            time.sleep(max(0.0, start + index / rate_hz - time.monotonic()))
            land()
            yield time.time()


def place_files(sweep: ImageSet, destination: Path) -> Generator[Landing, None, None]:
    """Copy one file an image."""
    for name in sweep.file_names():
        yield place_file(sweep.folder / name, destination / name)


def place_file(source: Path, target: Path) -> Landing:
    """Copy a file beside its place; the landing puts it there at once and whole."""
    unfinished = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, unfinished)
    return lambda: unfinished.replace(target)


def place_frames(sweep: ImageSet, destination: Path) -> Generator[Landing, None, None]:
    """Copy an NXmx master, then the frames of its data files one by one under SWMR."""
    import h5py
    import hdf5plugin  # noqa: F401 - registers bitshuffle, without which such a dataset can't be made

    from tasks.nexus.opening import open_file
    from tasks.simulation.recorded_frames import list_recorded

    parts = list_recorded(sweep.folder / sweep.template)
    place_file(sweep.folder / sweep.template, destination / sweep.template)()
    remaining = sweep.recorded
    for part in parts:
        if remaining <= 0:
            return
        with (
            open_file(str(sweep.folder / part.name)) as source,
            h5py.File(destination / part.name, "w", libver=("v110", "v110")) as target,  # the oldest with SWMR
        ):
            data = prepare_dataset(source, target, part.dataset)
            # From here on HDF5 takes no new objects or attributes in the file, and readers can open it.
            target.swmr_mode = True
            for frame in range(min(part.frames, remaining)):
                yield _frame_landing(source[part.dataset], data, frame)
        remaining -= part.frames


def _frame_landing(source: Any, target: Any, frame: int) -> Landing:
    place_of_frame = (frame, 0, 0)
    filter_mask, chunk = source.id.read_direct_chunk(place_of_frame)

    def land() -> None:
        target.id.write_direct_chunk(place_of_frame, chunk, filter_mask)
        target.flush()  # a reader under SWMR sees nothing before

    return land


def prepare_dataset(source: Any, target: Any, name: str) -> Any:
    """Copy what a data file holds, but for its images: their dataset is made in full size and empty."""
    import h5py

    *groups, leaf = name.strip("/").split("/")
    for group in groups:
        _copy_members(source, target, besides=group)
        source, target = source[group], target.create_group(group)
    _copy_members(source, target, besides=leaf)
    images = source[leaf]
    h5py.h5d.create(target.id, leaf.encode(), images.id.get_type(), images.id.get_space(), dcpl=_creation_list(images))
    for key, value in images.attrs.items():
        target[leaf].attrs[key] = value
    return target[leaf]


def _creation_list(images: Any) -> Any:
    """Return a dataset's chunks, fill value and filters, for making another one."""
    properties = images.id.get_create_plist()
    filters = [properties.get_filter(index) for index in range(properties.get_nfilters())]
    for code, flags, values, _name in filters:
        # Bitshuffle puts three values of its own before those it's given, each time: with twice as many it can't read.
        given = values[3:] if code == BITSHUFFLE else values
        properties.remove_filter(code)
        properties.set_filter(code, flags, given)
    return properties


def _copy_members(source: Any, target: Any, besides: str) -> None:
    for key, value in source.attrs.items():
        target.attrs[key] = value
    for key in source:
        if key != besides:
            source.copy(key, target, expand_external=False, expand_soft=False)
