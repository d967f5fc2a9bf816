"""Let images that lie ready in a folder appear in another one, at a rate: what a detector's file writer does.

CBFs appear by rename; NXmx as SWMR: companions and the closed master first, then each data file's chunks as they are,
compressed, each flushed by itself.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
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
    # Under a short name: the file's own may be as long as a name can be
    unfinished = target.with_name(f".{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]}.part")
    shutil.copyfile(source, unfinished)
    return lambda: unfinished.replace(target)


def place_frames(sweep: ImageSet, destination: Path) -> Generator[Landing, None, None]:
    """Copy an NXmx master, then the frames of its data files one by one under SWMR.

    Each data file is there from its first frame on, with room for all that it had, and closed after its last one.
    """
    from tasks.simulation.recorded_frames import list_recorded

    places = list_recorded(sweep.folder / sweep.template)
    place_file(sweep.folder / sweep.template, destination / sweep.template)()
    last_use = {(place.name, place.dataset): index for index, place in enumerate(places)}
    remaining = sweep.recorded
    with ExitStack() as stack:
        copies: dict[tuple[str, str], CopiedFile] = {}
        for index, part in enumerate(places):
            if remaining <= 0:
                return
            key = (part.name, part.dataset)
            if key not in copies:
                copy = CopiedFile(sweep.folder / part.name, destination / part.name, part.dataset)
                copies[key] = stack.enter_context(closing(copy))
            for frame in range(part.first, part.first + min(part.count, remaining)):
                yield copies[key].landing(frame)
            remaining -= part.count
            if last_use[key] == index:
                copies[key].close()


class CopiedFile:
    """A data file that is copied frame by frame, under SWMR."""

    def __init__(self, source: Path, target: Path, dataset: str) -> None:
        import h5py
        import hdf5plugin  # noqa: F401 - registers bitshuffle, without which such a dataset can't be made

        from tasks.nexus.opening import open_file

        with ExitStack() as stack:
            original = stack.enter_context(open_file(str(source)))
            copy = stack.enter_context(h5py.File(target, "w", libver=("v110", "v110")))  # the oldest with SWMR
            self._images = original[dataset]
            self._copied = prepare_dataset(original, copy, dataset)
            # From here on HDF5 takes no new objects or attributes in the file, and readers can open it.
            copy.swmr_mode = True
            self._files = stack.pop_all()

    def landing(self, frame: int) -> Landing:
        """Read a frame; the landing writes it."""
        return _frame_landing(self._images, self._copied, frame)

    def close(self) -> None:
        """Close both files."""
        self._files.close()


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
