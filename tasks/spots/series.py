"""What images are called together, and by which numbers people know them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tasks.spots.images import Image

_LAST_NUMBER: Final = re.compile(r"(?P<before>.*?)(?P<number>\d+)(?P<after>(\.[A-Za-z]\w*){0,2})\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Series:
    """Images in a row.

    Parameters
    ----------
    title
        A master's name, a template such as `x_####.cbf`, or how many files they are of.
    numbers
        The images' numbers: in their master, or in the names of their files; else their places from 1.
    axis
        What the numbers are.
    """

    title: str
    numbers: tuple[int, ...]
    axis: str


def describe_series(images: Sequence[Image]) -> Series:
    """Say what images are together.

    >>> describe_series([Image("/x/a_0003.cbf", 1), Image("/x/a_0004.cbf", 2)])
    Series(title='a_####.cbf', numbers=(3, 4), axis='image')
    """
    files = list(dict.fromkeys(image.file for image in images))
    if len(files) == 1:
        return Series(os.path.basename(files[0]), tuple(image.number for image in images), "image")  # noqa: PTH119
    if not any(image.is_of_several for image in images):
        parts = [_LAST_NUMBER.fullmatch(file) for file in files]
        if all(parts) and len({(part["before"], part["after"]) for part in parts if part}) == 1:
            numbers = tuple(int(part["number"]) for part in parts if part)
            assert parts[0] is not None
            before = os.path.basename(parts[0]["before"])  # noqa: PTH119
            width = min(len(part["number"]) for part in parts if part)
            return Series(f"{before}{'#' * width}{parts[0]['after']}", numbers, "image")
    places = tuple(range(1, len(images) + 1))
    return Series(f"{len(files):,} files", places, "image, in the order in which they were named")


def short_names(images: Sequence[Image]) -> tuple[str, list[str]]:
    """Return the folder or the master that all images share, with nothing to tell them apart, and the rest.

    >>> short_names([Image("/x/y/a.nxs", 3, is_of_several=True), Image("/x/y/a.nxs", 4, is_of_several=True)])
    ('/x/y/a.nxs', ['3', '4'])
    >>> short_names([Image("/x/y/a.cbf", 1), Image("/x/z/b.nxs", 7, is_of_several=True)])
    ('/x', ['y/a.cbf', 'z/b.nxs:7'])
    """
    if not images:
        return "", []
    files = {image.file for image in images}
    if len(files) == 1 and images[0].is_of_several:
        return images[0].file, [str(image.number) for image in images]
    folders = {os.path.dirname(file) for file in files}  # noqa: PTH120 - as they were named
    try:
        shared = os.path.commonpath(folders) if all(folders) else ""
    except ValueError:  # absolute and relative ones
        shared = ""
    start = len(shared) + (not shared.endswith("/")) if shared else 0
    return shared, [image.name[start:] for image in images]
