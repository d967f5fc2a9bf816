"""The dispersion thresholds written down plainly, for where DIALS isn't at hand or at another version."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tasks.diffraction.kernel.threshold import DispersionParameters


def strong_pixels(
    counts: np.ndarray, valid: np.ndarray, parameters: DispersionParameters, gaps_erode: bool = True
) -> np.ndarray:
    """Return the indices of strong pixels, as `dials/algorithms/image/threshold/local.h` has them.

    Parameters
    ----------
    counts, valid
        (slow, fast): integers below 2^24; whether a pixel counts.
    gaps_erode
        Whether, to the extended threshold, pixels that aren't valid are background.
    """
    source = counts.astype(np.int64)
    m, x, y = (windows(np.where(valid, values, 0), 3).sum((2, 3)) for values in (1, source, source**2))
    m, x, y, count = (values.astype(float) for values in (m, x, y, source))
    with np.errstate(invalid="ignore"):  # windows without a pixel
        a = m * y - x * x - x * (m - 1)
        c = x * parameters.sigma_background * np.sqrt(2 * (m - 1))
        over = valid & (m >= parameters.least_pixels) & (a > c)
    bright = count > parameters.global_threshold
    if not parameters.extended:
        return np.flatnonzero(over & bright & (m * count - x > parameters.sigma_strong * np.sqrt(x * m)))
    kept = over & ~windows(~over & (valid | gaps_erode), 2).any((2, 3))
    background = valid & ~kept
    m, x = (windows(np.where(background, values, 0), 5).sum((2, 3)).astype(float) for values in (1, source))
    mean = np.where(m >= 2, x / np.maximum(m, 1), 0)
    return np.flatnonzero(kept & bright & (count >= mean + parameters.sigma_strong * np.sqrt(mean)))


def windows(values: np.ndarray, reach: int) -> np.ndarray:
    """Return what lies around each pixel, (slow, fast, 2 reach + 1, 2 reach + 1); 0 beyond the edges."""
    return sliding_window_view(np.pad(values, reach), (2 * reach + 1, 2 * reach + 1))
