"""Image files as DIALS sees them: models and imageset, made once for a master, anew for every single image."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import dials.array_family.flex  # noqa: F401 - without it dxtbx's C++ can't return reflection tables
from dxtbx.format.Format import Format
from dxtbx.format.image import ImageBool  # noqa: F401 - registers the type of external masks
from dxtbx.model.experiment_list import ExperimentListFactory

from blocks.errors import PassingFault, PlazaError
from tasks.diffraction.hdf5_frames import FrameReader, read_panel_form, reads_plain_frames, require_stored
from tasks.diffraction.plain_names import plain_name
from tasks.diffraction.requests import MASTER_SUFFIXES
from tasks.fresh_folders import open_folder_of
from tasks.nexus.errors import FileAbsent, NotReady, UnusableMaster
from tasks.nexus.images import MasterImages
from tasks.nexus.opening import file_version, not_ready_or_unusable, open_beside_dxtbx
from tasks.nexus.related import require_metadata


class ImageUnreadable(PlazaError):
    """An image file is missing, incomplete or in no format that DIALS knows."""


class ImageMissing(ImageUnreadable, PassingFault):
    """An image file isn't there, or isn't seen on this machine yet."""


@dataclass(frozen=True)
class DataSet:
    """An image file's models (a DIALS ExperimentList) and its images.

    Parameters
    ----------
    images
        Those of a master whose layout Plaza knows.
    is_direct
        They are read from the data files, not by dxtbx.
    """

    file: str
    experiments: Any
    images: MasterImages | None = None
    is_direct: bool = False

    @property
    def imageset(self) -> Any:
        """All images of the file."""
        return self.experiments[0].imageset

    @cached_property
    def static_mask(self) -> Any:
        """Which pixels are usable in any image, a flex.bool for each panel; None: all are."""
        return self.imageset.get_format_class().get_instance(self.file).get_static_mask()

    @property
    def may_be_kept(self) -> bool:
        """Whether the next image may be read with what is open now.

        Where dxtbx reads by a virtual dataset, its handle and one of a data file must not be open at once.
        """
        return self.is_direct or self.images is None or not self.images.layout.is_virtual

    @property
    def is_outdated(self) -> bool:
        """Whether a data file has come since, by which there are more images than the models know of."""
        awaits = self.images.layout.awaits if self.images else None
        return awaits is not None and Path(awaits.file).exists()

    def require(self, scan_range: tuple[int, int] | None = None) -> None:
        """Make sure that images (from 1, both ends included; all if None) are stored, if dxtbx is to read them.

        Raises
        ------
        FrameMissing
            One isn't, or its data file isn't there.
        """
        if self.images is None or self.is_direct:
            return
        first, last = scan_range or (1, len(self.imageset))
        require_stored(self.images, range(max(first, 1) - 1, last))

    def close(self) -> None:
        """Close the files that are open."""
        if self.images is not None:
            self.images.close()


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
    is_master = file.lower().endswith(MASTER_SUFFIXES)
    images = _find_images(file) if is_master else None
    try:
        experiments: Any = ExperimentListFactory.from_filenames([file if is_master else plain_name(file)])
        if not experiments:
            raise ValueError("no format of dxtbx's knows it")
    except Exception as error:
        if images is not None and images.layout.awaits is not None:
            raise ImageMissing(f"DIALS can't read {file} yet: it waits for {images.layout.awaits}") from error
        raise _unreadable(file, error) from error
    return _read_frames_directly(file, experiments, images)


def _find_images(file: str) -> MasterImages | None:
    """Read a master's layout, before dxtbx opens it in its own way; None if Plaza doesn't know such files.

    Raises
    ------
    ImageMissing
        The master or a file that it needs isn't there, or is in the making.
    UnusableMaster
        A file of its metadata can't be read.
    """
    try:
        try:
            images = MasterImages.of(file, open_beside_dxtbx)
        except UnusableMaster:
            return None
        require_metadata(file)
    except NotReady as error:
        if isinstance(error, FileAbsent) and error.file == file:
            raise _missing(file) from error
        raise ImageMissing(f"{file} can't be read yet: it waits for {error}") from error
    return images


def _missing(file: str) -> ImageMissing:
    open_folder_of(file)  # for the next try: who asks for the image has been told that it's there
    return ImageMissing(f"the image file {file} does not exist")


def _unreadable(file: str, error: Exception) -> ImageUnreadable:
    if not Path(file).exists():
        return _missing(file)
    if file.lower().endswith(MASTER_SUFFIXES) and isinstance(not_ready_or_unusable(error, file), NotReady):
        return ImageMissing(f"DIALS can't read {file} yet: {error}")
    size = Path(file).stat().st_size
    return ImageUnreadable(
        f"DIALS can't read {file} ({size} bytes): {error or type(error).__name__}. It may be incomplete, "
        "or not an image at all; `dxtbx.print_header FILE` tells more"
    )


def _read_frames_directly(file: str, experiments: Any, images: MasterImages | None) -> DataSet:
    """Replace the reader of a NXmx master's images by a FrameReader, where the master's layout allows."""
    imageset = experiments[0].imageset
    format_class = imageset.get_format_class()
    if images is None or len(experiments.imagesets()) > 1 or not reads_plain_frames(format_class):
        return DataSet(file, experiments, images)
    form = read_panel_form(images.layout, format_class.get_instance(file))
    if form is None:
        return DataSet(file, experiments, images)
    # dxtbx's way to an imageset of the same models with another reader.
    direct = imageset.partial_set(FrameReader(images, form, len(imageset)), 0, len(imageset))
    for experiment in experiments:
        experiment.imageset = direct
    return DataSet(file, experiments, images, is_direct=True)


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
        version = file_version(file)
        if file in self._kept and self._kept[file][0] == version and not self._kept[file][1].is_outdated:
            self._kept.move_to_end(file)
            return self._kept[file][1]
        self.forget(file)
        while len(self._kept) >= self._limit:
            self.forget(next(iter(self._kept)))
        data_set = open_data_set(file)
        self._kept[file] = (version, data_set)
        return data_set

    @contextmanager
    def using(self, file: str) -> Iterator[DataSet]:
        """Have the data set of a file, and forget it where the next image must not be read with what is open now."""
        data_set = self.open(file)
        try:
            yield data_set
        except PlazaError:
            # What isn't stored yet stays so for whoever has read it, unless the file is opened anew.
            if not data_set.is_direct:
                self.forget(file)
            raise
        except Exception:
            # Models of a file that is being replaced may be wrong for ever: the next image reads them anew.
            self.forget(file)
            raise
        if not data_set.may_be_kept:
            self.forget(file)

    def forget(self, file: str) -> None:
        """Close and drop a file's data set, if it's kept."""
        if file in self._kept:
            self._kept.pop(file)[1].close()
