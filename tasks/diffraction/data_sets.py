"""Image files as DIALS sees them: models and imageset, made once for a master, anew for every single image."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import dials.array_family.flex  # noqa: F401 - without it dxtbx's C++ can't return reflection tables
from dxtbx.format.Format import Format
from dxtbx.format.image import ImageBool  # noqa: F401 - registers the type of external masks
from dxtbx.model.experiment_list import ExperimentListFactory

from blocks.errors import PlazaError
from tasks.diffraction.errors import ImageAwaited, ImageMissing, ImageUnreadable
from tasks.diffraction.hdf5_frames import FrameReader, read_panel_form, reads_plain_frames, require_stored
from tasks.diffraction.image_files.ccd import tells_no_length
from tasks.diffraction.image_files.completeness import (
    may_be_in_the_making,
    require_complete,
    require_file,
    unreachable,
)
from tasks.diffraction.image_files.content import ImageContent
from tasks.diffraction.image_files.explaining import explain
from tasks.diffraction.requests import MASTER_SUFFIXES
from tasks.nexus.errors import FileAbsent, NoImages, NoImagesYet, NotReady, UnusableMaster
from tasks.nexus.images import MasterImages
from tasks.nexus.metadata import Metadata, require_metadata
from tasks.nexus.opening import are_as_before, file_version, not_ready_or_unusable, open_beside_dxtbx
from tasks.step import USUAL_RETRIES


@dataclass(frozen=True)
class DataSet:
    """An image file's models (a DIALS ExperimentList) and its images.

    Parameters
    ----------
    images
        Those of a master whose layout Plaza knows.
    is_direct
        They are read from the data files, not by dxtbx.
    metadata
        What the models and the mask of a master were read from.
    content
        What a file that isn't a master held when it was read.
    """

    file: str
    experiments: Any
    images: MasterImages | None = None
    is_direct: bool = False
    metadata: Metadata = field(default_factory=lambda: Metadata({}, 0))
    content: ImageContent | None = None

    @property
    def imageset(self) -> Any:
        """All images of the file."""
        return self.experiments[0].imageset

    @property
    def is_single_image(self) -> bool:
        """Whether the file is one image, which needs no number."""
        return self.content is not None and len(self.imageset) == 1

    @cached_property
    def static_mask(self) -> Any:
        """Which pixels are usable in any image, a flex.bool for each panel; None: all are."""
        file = self.content.plain_name if self.content else self.file
        return self.imageset.get_format_class().get_instance(file).get_static_mask()

    @property
    def may_be_kept(self) -> bool:
        """Whether the next image may be read with what is open now.

        Where dxtbx reads by a virtual dataset, its handle and one of a data file must not be open at once.
        """
        return self.is_direct or self.images is None or not self.images.layout.is_virtual

    def as_of_now(self) -> DataSet | None:
        """Return the data set, if what its models, its mask and its images' places were read from is as before.

        What is said of an image may not depend on what this process has read before.
        """
        if self.images is not None and not _are_in_place(self.images):
            return None
        if are_as_before(self.metadata.versions):
            return self
        if self.images is None:
            return None
        try:
            metadata = require_metadata(self.file)
        except (NotReady, UnusableMaster):
            return None
        return replace(self, metadata=metadata) if metadata.fingerprint == self.metadata.fingerprint else None

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


def _are_in_place(images: MasterImages) -> bool:
    """Tell whether the files are as before that say where the images are, and no further one has come."""
    awaits = images.layout.awaits
    return are_as_before(images.layout.read_from) and not (awaits and Path(awaits.file).exists())


def open_data_set(file: str) -> DataSet:
    """Read the models of an image file.

    Raises
    ------
    ImageUnreadable
        It's missing or no format of dxtbx's reads it.
    """
    _forget_last_file()
    require_file(file)  # in a folder DIALS would take whatever image it finds first; a pipe has no end
    return _open_master(file) if file.lower().endswith(MASTER_SUFFIXES) else _open_single_image(file)


def _open_master(file: str) -> DataSet:
    """Read the models of a master, once all is there that DIALS reads besides the images."""
    # Before dxtbx opens it in its own way, and before anything is read that may then change.
    metadata = Metadata({file: file_version(file)}, 0)
    images: MasterImages | None = None
    unknown: PlazaError | None = None
    try:
        images = MasterImages.of(file, open_beside_dxtbx)
        metadata = require_metadata(file)
    except (NoImages, NoImagesYet) as error:  # dxtbx may know such files, in which nothing is virtual
        unknown = error
    except NotReady as error:
        raise _missing(file, error) from error
    try:
        experiments = _read_experiments(file)
    except Exception as error:
        known = unknown or (images.layout.awaits if images else None)
        raise _unreadable_master(file, error, known) from error
    if images is not None:
        # A fault of a file system in between would have been no mask to dxtbx, and no error.
        _recheck(file)
    return replace(_read_frames_directly(file, experiments, images), metadata=metadata)


def _recheck(file: str) -> None:
    try:
        require_metadata(file)
    except NotReady as error:
        raise _missing(file, error) from error


def _read_experiments(file: str) -> Any:
    experiments: Any = ExperimentListFactory.from_filenames([file])
    if not experiments:
        raise ValueError("no format of dxtbx's knows it")
    return experiments


def _missing(file: str, error: NotReady) -> ImageMissing:
    if isinstance(error, FileAbsent) and error.file == file:
        return ImageMissing(f"the image file {file} does not exist")
    if error.file == file:
        return ImageMissing(f"the image file {error}")
    return ImageMissing(f"{file} can't be read yet: it waits for {error}")


def _open_single_image(file: str) -> DataSet:
    try:
        content = ImageContent(file)
    except OSError as error:
        raise unreachable(file, error) from error
    require_complete(content)
    content.release()
    try:
        experiments = _read_experiments(content.plain_name)
    except Exception as error:
        raise explain_failure(error, f"read {file}", content) from error
    return DataSet(file, experiments, content=content)


def explain_failure(error: Exception, doing: str, content: ImageContent | None = None) -> ImageUnreadable:
    """Return the error for what DIALS couldn't do with an image file: it may pass, or the file is to blame.

    Parameters
    ----------
    doing
        What it was to do, in words.
    content
        What the file held when it was read; None for a master.
    """
    reason = explain(content, error)
    if USUAL_RETRIES.may_pass(error):
        return ImageAwaited(f"DIALS can't {doing} now: {reason}")
    if content is not None and _may_be_unfinished(content):
        return ImageAwaited(f"DIALS can't {doing} yet: {reason}; the file has just been written to")
    return ImageUnreadable(f"DIALS can't {doing}: {reason}")


def _may_be_unfinished(content: ImageContent) -> bool:
    if tells_no_length(content.start):
        return may_be_in_the_making(content)
    try:
        return content.has_changed
    except OSError:  # it was removed or replaced while DIALS read it
        return True


def _unreadable_master(file: str, error: Exception, known: PlazaError | None) -> ImageUnreadable:
    """Return what it means that dxtbx can't read a master of which something is known to lack, or nothing."""
    if isinstance(known, NotReady):
        return _missing(file, known)
    _recheck(file)
    fault = not_ready_or_unusable(error, file)
    if isinstance(fault, NotReady):
        return _missing(file, fault)
    if known is not None:
        return ImageUnreadable(f"DIALS can't read {file}: {known}")
    return explain_failure(error, f"read {file}")


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
    """The data sets of a process: those of masters are kept, the last used ones, until their files change."""

    def __init__(self, limit: int = 4) -> None:
        self._limit = limit
        self._kept: OrderedDict[str, DataSet] = OrderedDict()

    def open(self, file: str) -> DataSet:
        """Return the data set of a file.

        Raises
        ------
        ImageUnreadable
            It's missing or no format of dxtbx's reads it.
        """
        if not file.lower().endswith(MASTER_SUFFIXES):
            return open_data_set(file)
        kept = self._kept[file].as_of_now() if file in self._kept else None
        if kept is not None:
            self._kept[file] = kept
            self._kept.move_to_end(file)
            return kept
        self.forget(file)
        while len(self._kept) >= self._limit:
            self.forget(next(iter(self._kept)))
        self._kept[file] = open_data_set(file)
        return self._kept[file]

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
            self._kept.pop(file).close()
