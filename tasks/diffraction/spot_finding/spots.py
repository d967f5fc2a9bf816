"""From strong pixels to spots, by DIALS: connected pixels, their centroids and intensities, filters, their places.

The same functions as `dials.algorithms.spot_finding.finder` calls, in the same order. Left out is what says nothing of
the statistics: flags, and the hot pixels that would be written to a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from dials.algorithms.spot_finding.finder import pixel_list_to_reflection_table
from dials.array_family import flex
from dials.model.data import PixelList, PixelListLabeller

from tasks.diffraction.spot_finding.images import Frame

Array = np.ndarray[Any, Any]


def label_pixels(number: int, counts: Array, strong: Array) -> Any:
    """Return a panel's strong pixels for DIALS.

    Parameters
    ----------
    number
        Of the image.
    counts
        (slow, fast), C-contiguous.
    strong
        Where the strong ones are in it, flat, in order.

    Returns
    -------
    PixelListLabeller
    """
    labeller = PixelListLabeller()
    # Copies, not views: a DIALS array on a numpy one that is let go while an error passes ends the process.
    values = flex.double(counts.reshape(-1)[strong].astype(np.float64))
    labeller.add(PixelList(number, counts.shape, values, flex.size_t(strong)))
    return labeller


def make_spots(frame: Frame, labellers: Sequence[Any], filters: Any, smallest: int, largest: int) -> Any:
    """Return the spots of an image, mapped to reciprocal space.

    Parameters
    ----------
    labellers
        A PixelListLabeller for each panel.
    filters
        DIALS's FilterRunner.
    smallest, largest
        Of a spot, in pixels.

    Returns
    -------
    reflection_table
        With the columns `rlp` (1/Å), `intensity.sum.value` and `intensity.sum.variance` (counts) among others.
    """
    spots, _ = pixel_list_to_reflection_table(
        frame.imageset, labellers, filters, smallest, largest, write_hot_pixel_mask=False
    )
    spots["id"] = flex.int(len(spots), 0)
    spots.centroid_px_to_mm(frame.experiments)
    spots.map_centroids_to_reciprocal_space(frame.experiments)
    return spots
