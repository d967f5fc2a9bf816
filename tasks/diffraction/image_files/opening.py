"""Read the models of an image file, once all is there that DIALS reads."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from dxtbx.format.Format import Format

from blocks.errors import PlazaError
from tasks.diffraction.errors import ImageAwaited, ImageMissing, ImageUnreadable
from tasks.diffraction.image_files.data_set import DataSet
from tasks.diffraction.image_files.experiments import read_experiments, read_experiments_of_image
from tasks.diffraction.image_files.explaining import describe_error, explain_failure
from tasks.diffraction.image_files.hdf5_frames import (
    FrameReader,
    PanelForm,
    TwiceReader,
    read_panel_form,
    reads_plain_frames,
)
from tasks.diffraction.image_files.raw.cbf_pixels import RawCbf, reads_byte_offset
from tasks.diffraction.image_files.raw.frame import NotRaw
from tasks.diffraction.image_files.raw.master_frames import RawMasterFrames
from tasks.diffraction.image_files.second_look import reads_the_same
from tasks.diffraction.image_files.single_images.completeness import require_complete, require_file, unreachable
from tasks.diffraction.image_files.single_images.content import ImageContent
from tasks.diffraction.requests import MASTER_SUFFIXES
from tasks.file_version import file_version
from tasks.nexus.errors import FileAbsent, FileBusy, NoImages, NoImagesYet, NotReady
from tasks.nexus.images import MasterImages
from tasks.nexus.lacks import find_lacks
from tasks.nexus.metadata import Metadata, require_metadata
from tasks.nexus.opening import not_ready_or_unusable, open_beside_dxtbx


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
        experiments = read_experiments(file)
        if not len(experiments[0].detector):
            raise ValueError("its detector has no module")
        _require_fitting_mask(experiments[0].imageset)
    except Exception as error:
        known = unknown or (images.layout.awaits if images else None)
        raise _unreadable_master(file, error, known) from error
    if images is not None:
        # A fault of a file system in between would have been no mask to dxtbx, and no error.
        _recheck(file)
        _require_the_same_again(file, experiments)
    return replace(_read_frames_directly(file, experiments, images), metadata=metadata)


def _require_fitting_mask(imageset: Any) -> None:
    """Make sure that a master's pixel mask, of which dxtbx takes each panel's part, is as large as the detector."""
    mask = imageset.external_lookup.mask.data
    if mask.empty():
        return
    for number, panel in enumerate(imageset.get_detector()):
        expected, seen = panel.get_image_size()[::-1], mask.tile(number).data().all()
        if expected != seen:
            raise ValueError(
                f"of its pixel mask panel {number} has {' × '.join(map(str, seen))} pixels (slow × fast); "
                f"by its module's data_size it has {' × '.join(map(str, expected))}"
            )


def _recheck(file: str) -> None:
    try:
        require_metadata(file)
    except NotReady as error:
        raise _missing(file, error) from error


def _require_the_same_again(file: str, experiments: Any) -> None:
    try:
        is_the_same = reads_the_same(file, experiments[0].imageset.get_format_class())
    except Exception as error:
        raise _unreadable_master(file, error, None) from error
    if not is_the_same:
        raise ImageAwaited(f"DIALS has read {file} twice, and not the same: its file system fails, or it's written to")


def _missing(file: str, error: NotReady) -> ImageMissing:
    if isinstance(error, FileAbsent) and error.file == file:
        return ImageMissing(f"the image file {file} does not exist")
    if error.file == file:
        return ImageMissing(f"the image file {file} {error.reason}")
    return ImageMissing(f"{file} can't be read yet: it waits for {error}")


def _open_single_image(file: str) -> DataSet:
    try:
        content = ImageContent(file)
    except OSError as error:
        raise unreachable(file, error) from error
    try:
        require_complete(content)
    finally:
        content.close()
    content.lend_to_dxtbx()
    try:
        experiments = read_experiments_of_image(content.plain_name)
    except Exception as error:
        raise explain_failure(error, f"read {file}", content) from error
    _require_that_it_reads(content, experiments)
    return DataSet(file, experiments, raw=_read_byte_offset(content, experiments), content=content)


def _require_that_it_reads(content: ImageContent, experiments: Any) -> None:
    """Make sure that dxtbx has taken the number in the file's name for what it is: it would read another image."""
    would_read = str(experiments[0].imageset.get_path(0))
    if os.path.abspath(would_read) != os.path.abspath(content.plain_name):  # noqa: PTH100 - as dxtbx does
        raise ImageUnreadable(f"DIALS would read {would_read} in place of {content.file}: rename it to end in _0001")


def _read_byte_offset(content: ImageContent, experiments: Any) -> RawCbf | None:
    imageset = experiments[0].imageset
    if len(imageset) > 1 or not reads_byte_offset(imageset.get_format_class()):
        return None
    detector = imageset.get_detector()
    return RawCbf(content, detector) if len(detector) == 1 else None


def _unreadable_master(file: str, error: Exception, known: PlazaError | None) -> ImageUnreadable:
    """Return what it means that dxtbx can't read a master of which something is known to lack, or nothing."""
    if isinstance(known, NotReady):
        return _missing(file, known)
    _recheck(file)
    fault = not_ready_or_unusable(error, file)
    lacks = "; ".join(find_lacks(file))
    if isinstance(fault, NotReady):
        is_in_the_making = lacks and not isinstance(fault, FileAbsent | FileBusy)
        return _missing(file, NotReady(file, f"isn't a whole master yet: {lacks}") if is_in_the_making else fault)
    if lacks and not isinstance(known, NoImages):
        return ImageUnreadable(f"DIALS can't read {file}: {lacks} ({describe_error(error)})")
    if known is not None:
        return ImageUnreadable(f"DIALS can't read {file}: {known}")
    return explain_failure(error, f"read {file}")


def _read_frames_directly(file: str, experiments: Any, images: MasterImages | None) -> DataSet:
    """Replace the reader of a NXmx master's images by a FrameReader, where the master's layout allows."""
    imageset = experiments[0].imageset
    format_class = imageset.get_format_class()
    if images is None or len(experiments.imagesets()) > 1 or not reads_plain_frames(format_class):
        return DataSet(file, experiments, images)
    image_format = format_class.get_instance(file)
    form = read_panel_form(images.layout, image_format)
    raw: RawMasterFrames | NotRaw
    if isinstance(form, PanelForm):
        reader = FrameReader(images, form, len(imageset))
        raw = RawMasterFrames(reader, imageset.get_detector())
    else:
        raw = NotRaw(form)
        if not images.layout.is_virtual:
            return DataSet(file, experiments, images, raw)
        reader = TwiceReader(images, image_format, len(imageset))
    # dxtbx's way to an imageset of the same models with another reader.
    own = imageset.partial_set(reader, 0, len(imageset))
    for experiment in experiments:
        experiment.imageset = own
    return DataSet(file, experiments, images, raw)


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
