"""Image files as DIALS sees them: models and imageset, made once for a master, anew for every single image."""

from __future__ import annotations

import os
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dials.array_family.flex  # noqa: F401 - without it dxtbx's C++ can't return reflection tables
from dxtbx.format.Format import Format
from dxtbx.format.image import ImageBool  # noqa: F401 - registers the type of external masks
from dxtbx.model.experiment_list import ExperimentListFactory

from blocks.errors import PassingFault, PlazaError
from tasks.diffraction.hdf5_frames import FrameReader, UnmappedLayout, read_frame_map, reads_plain_frames
from tasks.diffraction.requests import MASTER_SUFFIXES


class ImageUnreadable(PlazaError):
    """An image file is missing, incomplete or in no format that DIALS knows."""


class ImageMissing(ImageUnreadable, PassingFault):
    """An image file isn't there, or isn't seen on this machine yet."""


@dataclass(frozen=True)
class DataSet:
    """An image file's models (a DIALS ExperimentList) and its images."""

    file: str
    experiments: Any
    reader: FrameReader | None = None

    @property
    def imageset(self) -> Any:
        """All images of the file."""
        return self.experiments[0].imageset

    def close(self) -> None:
        """Close the files that are open."""
        if self.reader is not None:
            self.reader.close()


def open_data_set(file: str) -> DataSet:
    """Read the models of an image file.

    Raises
    ------
    ImageUnreadable
        It's missing or no format of dxtbx's reads it.
    """
    _forget_last_file()
    if Path(file).is_dir():  # DIALS would search it and take whatever image it finds first
        raise ImageUnreadable(f"{file} is a folder; expected the path of an image file")
    try:
        experiments: Any = ExperimentListFactory.from_filenames([file])
        if not experiments:
            raise ValueError("no format of dxtbx's knows it")
    except Exception as error:
        if not Path(file).exists():
            raise ImageMissing(f"the image file {file} does not exist") from error
        size = Path(file).stat().st_size
        raise ImageUnreadable(
            f"DIALS can't read {file} ({size} bytes): {error or type(error).__name__}. It may be incomplete, "
            "or not an image at all; `dxtbx.print_header FILE` tells more"
        ) from error
    return _read_frames_directly(file, experiments)


def _read_frames_directly(file: str, experiments: Any) -> DataSet:
    """Replace the reader of a NXmx master's images by a FrameReader, where the master's layout allows."""
    imageset = experiments[0].imageset
    format_class = imageset.get_format_class()
    if len(experiments.imagesets()) > 1 or not reads_plain_frames(format_class):
        return DataSet(file, experiments)
    try:
        reader = FrameReader(read_frame_map(file, format_class.get_instance(file)))
    except UnmappedLayout:
        return DataSet(file, experiments)
    direct = imageset.partial_set(reader, 0, len(imageset))
    for experiment in experiments:
        experiment.imageset = direct
    return DataSet(file, experiments, reader)


def _forget_last_file() -> None:
    """Empty dxtbx's cache of the last file: it goes by the name, also when the file was since replaced or completed."""
    cache = Format.get_cache_controller()
    cache._cache_tag = cache._cache = None  # noqa: SLF001 - dxtbx has no public way
    pending: list[Any] = [Format]
    while pending:
        format_class = pending.pop()
        pending.extend(format_class.__subclasses__())
        if "_current_filename_" in vars(format_class):
            format_class._current_filename_ = format_class._current_instance_ = None


class DataSets:
    """The data sets of a process: those of masters are kept, the last used ones, until the master changes."""

    def __init__(self, limit: int = 4) -> None:
        self._limit = limit
        self._kept: OrderedDict[str, tuple[tuple[int, ...], DataSet]] = OrderedDict()

    def open(self, file: str) -> DataSet:
        """Return the data set of a file.

        Raises
        ------
        ImageUnreadable
            It's missing or no format of dxtbx's reads it.
        """
        if not file.lower().endswith(MASTER_SUFFIXES):
            return open_data_set(file)
        version = _file_version(file)
        if file in self._kept and self._kept[file][0] == version:
            self._kept.move_to_end(file)
            return self._kept[file][1]
        self.forget(file)
        while len(self._kept) >= self._limit:
            self.forget(next(iter(self._kept)))
        data_set = open_data_set(file)
        self._kept[file] = (version, data_set)
        return data_set

    def forget(self, file: str) -> None:
        """Close and drop a file's data set, if it's kept."""
        if file in self._kept:
            self._kept.pop(file)[1].close()


def _file_version(file: str) -> tuple[int, ...]:
    with suppress(OSError):
        status = os.stat(file)  # noqa: PTH116 - once an image
        return status.st_ino, status.st_mtime_ns, status.st_size
    return ()
