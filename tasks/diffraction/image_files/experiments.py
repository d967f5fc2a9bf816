"""Have dxtbx read the models of an image file."""

from __future__ import annotations

from typing import Any

import dials.array_family.flex  # noqa: F401 - without it dxtbx's C++ can't return reflection tables
from dxtbx.format.image import ImageBool  # noqa: F401 - registers the type of external masks
from dxtbx.format.Registry import get_format_class_for_file
from dxtbx.imageset import ImageSequence
from dxtbx.model.experiment_list import ExperimentListFactory
from dxtbx.sequence_filenames import template_regex

from tasks.diffraction.image_files.raw.cbf_pixels import reads_byte_offset


def read_experiments(file: str) -> Any:
    """Return the ExperimentList of a file.

    Raises
    ------
    ValueError
        No format of dxtbx's knows it.
    Exception
        Whatever dxtbx raises at a file that it can't read.
    """
    experiments: Any = ExperimentListFactory.from_filenames([file])
    if not experiments:
        raise ValueError("no format of dxtbx's knows it")
    return experiments


def read_experiments_of_image(file: str) -> Any:
    """Return the same as `read_experiments` does, of a file of one image; at half of the cost of a CBF file's.

    dxtbx reads such a file's header once for its models, and once more for its images.
    """
    format_class: Any = get_format_class_for_file(file)
    if format_class is None or format_class.is_abstract() or not reads_byte_offset(format_class):
        return read_experiments(file)
    # As ImageSetFactory.make_sequence, but for the file that it would look for by template and number
    template, number = template_regex(file)
    read = format_class.get_imageset([file], template=template, as_sequence=True)
    scan = read.get_scan()
    if scan.get_image_range() != (number, number):
        return read_experiments(file)
    scan.set_batch_offset(number - 1)
    # Stills get a copy of the scan each, when the sequence is made
    imageset = ImageSequence(read.data(), read.get_beam(), read.get_detector(), read.get_goniometer(), scan)
    return ExperimentListFactory.from_imageset_and_crystal(imageset, crystal=None)
