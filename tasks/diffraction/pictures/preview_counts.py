"""An image's counts as its preview shows them: as it lies on the detector, -1 where a pixel says nothing."""

from __future__ import annotations

from functools import lru_cache
from math import ceil
from typing import Any

import numpy as np
from dxtbx import flumpy

from blocks.errors import PlazaError
from tasks.diffraction.image_files.data_set import DataSet
from tasks.diffraction.image_files.explaining import explain_failure
from tasks.diffraction.image_files.raw.frame import NotRaw, RawFrame
from tasks.diffraction.image_files.raw.kept_arrays import KEPT

MASKED = -1

_Rectangle = tuple[int, int, int, int]


def read_counts(data_set: DataSet, index: int) -> np.ndarray[Any, Any]:
    """Return an image as it lies on the detector.

    Parameters
    ----------
    index
        The image's number in the data set, from 1.

    Returns
    -------
    ndarray
        Counts, (height, width) along the slow and the fast axis; -1 in pixels that aren't trusted. Valid until the next
        read of this process.

    Raises
    ------
    ImageUnreadable
        There's no such image, or it can't be read.
    """
    if data_set.is_single_image:
        index = 1
    detector = data_set.imageset.get_detector()
    try:
        if data_set.imageset.has_dynamic_mask():
            raise NotRaw("the goniometer's shadow moves")
        frame = data_set.read_raw(index - 1)
    except NotRaw:
        panels = _read_by_dxtbx(data_set, index)
    else:
        panels = _show_trusted(data_set, frame)
    return panels[0] if len(panels) == 1 else _lay_out(detector, panels)


def _show_trusted(data_set: DataSet, frame: RawFrame) -> list[np.ndarray[Any, Any]]:
    """Return the panels' counts, (slow, fast) each, 32-bit integers, -1 in pixels that aren't trusted."""
    shown = []
    for number, (panel, counts) in enumerate(zip(data_set.imageset.get_detector(), frame.panels, strict=True)):
        lowest, highest = frame.trusted_counts(number)
        # Of a saturated pixel no more is known than of a masked one, and an overload isn't to be taken for a strong
        # spot: where a detector counts no further, a newer dxtbx still trusts it.
        highest = min(highest, ceil(panel.get_trusted_range()[1]) - 1)
        if counts.dtype == np.int32:
            image = counts  # nobody else wants the frame any more
        else:
            image = KEPT.array(f"preview's panel {number}", counts.shape, np.int32)
            np.copyto(image, counts, casting="unsafe")  # what 32 bits with a sign can't hold isn't trusted
        limits = np.iinfo(counts.dtype)
        if highest < limits.max:
            np.copyto(image, MASKED, where=counts > highest)
        if lowest > limits.min:
            np.copyto(image, MASKED, where=counts < lowest)
        np.copyto(image, MASKED, where=_hidden_pixels(data_set, number, panel))
        shown.append(image)
    return shown


def _hidden_pixels(data_set: DataSet, number: int, panel: Any) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which pixels of a panel say nothing in any image, (slow, fast)."""
    width, height = panel.get_image_size()
    known = data_set.hidden_pixels
    if number in known:
        return known[number]
    hidden = _within((height, width), tuple(panel.get_mask()))
    masks = []
    lookup = data_set.imageset.external_lookup.mask.data
    if not lookup.empty():
        masks.append(lookup.tile(number).data())
    if data_set.static_mask is not None:
        masks.append(data_set.static_mask[number])
    for usable in masks:
        hidden = hidden | ~flumpy.to_numpy(usable)
    known[number] = hidden
    return hidden


@lru_cache(maxsize=128)  # a detector may have many panels
def _within(shape: tuple[int, int], rectangles: tuple[_Rectangle, ...]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which pixels lie in dxtbx's untrusted rectangles: fast and slow begin, fast and slow end."""
    hidden = np.zeros(shape, np.bool_)
    for left, top, right, bottom in rectangles:
        hidden[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = True
    return hidden


def _read_by_dxtbx(data_set: DataSet, index: int) -> list[np.ndarray[Any, Any]]:
    """Return the panels' counts as `_show_trusted` does, of any type, where only dxtbx can read them."""
    imageset = data_set.imageset
    data_set.require((index, index))
    data_set.require_image(index - 1)
    try:
        panels = imageset.get_raw_data(index - 1)
        masks = imageset.get_mask(index - 1)
    except PlazaError:
        raise
    except Exception as error:
        raise explain_failure(error, f"read image {index} of {data_set.file}", data_set.content) from error
    usable = data_set.static_mask
    return [
        _mask_counts(counts, mask, panel.get_trusted_range()[1], usable[number] if usable else None)
        for number, (counts, mask, panel) in enumerate(zip(panels, masks, imageset.get_detector(), strict=True))
    ]


def _mask_counts(panel: Any, trusted: Any, saturation: float, usable: Any | None) -> np.ndarray[Any, Any]:
    """Return a panel's counts, those of pixels that say nothing as -1.

    Parameters
    ----------
    panel, trusted, usable
        shape (slow, fast): counts; whether a count is one; whether its pixel is (None: all are).
    saturation
        From this count on a pixel is saturated.

    Returns
    -------
    ndarray
        The same shape.
    """
    counts = flumpy.to_numpy(panel)
    shown = flumpy.to_numpy(trusted) & (counts < saturation)
    if usable is not None:
        shown &= flumpy.to_numpy(usable)
    return np.where(shown, counts, MASKED)


def _lay_out(detector: Any, images: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Put panels where they lie in the detector's readout; one below the other where the format doesn't tell.

    Parameters
    ----------
    images
        The panels' counts, (slow, fast) each.

    Returns
    -------
    ndarray
        (height, width), -1 between the panels.
    """
    # DIALS gives (fast, slow); arrays have (slow, fast).
    offsets = [panel.get_raw_image_offset()[::-1] for panel in detector]
    if len(set(offsets)) < len(offsets):
        tops = np.cumsum([0, *(image.shape[0] for image in images)])
        offsets = [(int(top), 0) for top in tops[:-1]]
    placed = list(zip(offsets, images, strict=True))
    shape = tuple(max(corner[axis] + image.shape[axis] for corner, image in placed) for axis in (0, 1))
    whole = np.full(shape, MASKED, dtype=images[0].dtype)
    for (top, left), image in placed:
        whole[top : top + image.shape[0], left : left + image.shape[1]] = image
    return whole
