"""Which of a data set's images are meant, in the terms of DIALS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dxtbx.imageset import ImageSequence

from tasks.diffraction.errors import ImageUnreadable
from tasks.diffraction.image_files.data_set import DataSet
from tasks.diffraction.spot_finding.left_to_dials import LeftToDials

ScanRange = tuple[int, int] | None


def select_experiments(data_set: DataSet, scan_range: ScanRange) -> Any:
    """Return the experiments of some images: each still has its own, a rotation sweep has one."""
    experiments = data_set.experiments
    if scan_range is None:
        return experiments
    first, last = scan_range
    if len(experiments) == 1:
        return experiments
    if not 1 <= first <= last <= len(experiments):
        raise ImageUnreadable(f"{data_set.file} has images 1 to {len(experiments)}, asked for were {first} to {last}")
    return experiments[first - 1 : last]


@dataclass(frozen=True)
class Frame:
    """One image of a data set.

    Parameters
    ----------
    experiments
        Its experiment alone (a DIALS ExperimentList).
    imageset
        That it belongs to.
    index
        Its place in the imageset, from 0.
    number
        What DIALS calls it: the lower end of its place along the scan, in images.
    """

    experiments: Any
    imageset: Any
    index: int
    number: int


def find_frame(experiments: Any, scan_range: ScanRange) -> Frame:
    """Return the one image that experiments and a range mean, as `SpotFinder` and `ExtractPixelsFromImage` count.

    Raises
    ------
    LeftToDials
        It's not one image, or one that DIALS says something of its own about: there is none of that number.
    """
    if len(experiments) != 1:
        raise LeftToDials("several images in one record")
    imageset = experiments[0].imageset
    is_sequence = isinstance(imageset, ImageSequence)
    begin, end = imageset.get_array_range() if is_sequence else (0, len(imageset))
    first, last = scan_range or (begin + 1, end)
    if first != last:
        raise LeftToDials("several images in one record")
    if not begin < first <= end:
        raise LeftToDials("no image of that number")
    if len(imageset) == 1:
        index = 0
    elif begin == 0 and not (is_sequence and imageset.get_scan().get_batch_offset()):
        index = first - 1
    else:
        raise LeftToDials("a file whose images aren't numbered from 1")
    number = begin + index if is_sequence else imageset.indices()[index]
    scan = experiments[0].scan
    if scan and not scan.get_array_range()[0] <= number < scan.get_array_range()[1]:
        raise LeftToDials("an image outside of its scan")
    return Frame(experiments, imageset, index, number)
