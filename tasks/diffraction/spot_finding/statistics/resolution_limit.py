"""Resolution by DIALS's own method, as `per_image_analysis.estimate_resolution_limit`.

In bins of equally many spots the highest and the lowest I/σ(I), but for the outermost tenths, are taken; through both a
line is laid against 1/d². The limit is that of the outermost spot below the upper line.
"""

from __future__ import annotations

import numpy as np
from cctbx import uctbx
from dials.array_family import flex
from libtbx.math_utils import nearest_integer

from tasks.diffraction.spot_finding.statistics.columns import Array, Floats, Selection, SpotColumns
from tasks.diffraction.spot_finding.statistics.wilson_outliers import find_wilson_outliers

_SPOTS_IN_BIN = 20
_FEWEST_BINS, _MOST_BINS = 5, 20
_LOWER, _UPPER = 0.1, 1 - 0.1


def estimate_resolution_limit(spots: SpotColumns, on_ice: Selection, falling_d: Floats) -> float:
    """Return the resolution (Å); -1: no spot is below the line, or there is none.

    Parameters
    ----------
    spots
        With intensities and variances above 0.
    falling_d
        Their d, from the highest.
    """
    bin_count = min(max(len(spots) // _SPOTS_IN_BIN, _FEWEST_BINS), _MOST_BINS)
    bins = _assign_bins(spots.d, falling_d, bin_count)
    outliers = find_wilson_outliers(spots.intensities, on_ice, bins, bin_count)
    log_ratio = flex.log(flex.double(spots.intensities / np.sqrt(spots.variances)))
    logs = log_ratio.as_numpy_array()
    low, high = _find_percentiles(logs, bins, on_ice, outliers, bin_count)
    # Which spots' 1/d² belongs to which line is as in DIALS.
    slope, intercept = _fit(spots.d_star_sq[low], logs[high])
    if slope == _fit(spots.d_star_sq[high], logs[low])[0]:
        return -1
    inside = _are_below(spots.d_star_sq, logs, slope, intercept) & ~outliers & ~on_ice
    return uctbx.d_star_sq_as_d(float(spots.d_star_sq[inside].max())) if inside.any() else -1


def _assign_bins(d: Floats, falling_d: Floats, bin_count: int) -> Array:
    """Return each spot's bin, from 0 at low resolution; -1: in none, as are those of the very lowest in DIALS."""
    in_bin = len(d) / bin_count
    edges = [falling_d[0], *(falling_d[nearest_integer((i + 1) * in_bin) - 1] for i in range(bin_count))]
    return bin_count - np.searchsorted(edges[::-1], d, side="right")


def _find_percentiles(
    logs: Floats, bins: Array, on_ice: Selection, outliers: Selection, bin_count: int
) -> tuple[Array, Array]:
    """Return, for each bin with a spot off the ice, the spots at the lower and the upper percentile of I/σ(I)."""
    counted = np.flatnonzero((bins >= 0) & ~on_ice & ~outliers)
    counts = np.bincount(bins[counted], minlength=bin_count)
    has_spots = counts > 0  # where there's a spot off the ice one is no outlier
    ordered = counted[np.lexsort((logs[counted], bins[counted]))]
    begins = (np.cumsum(counts) - counts)[has_spots]
    places = [begins + np.floor(part * counts[has_spots]).astype(int) for part in (_LOWER, _UPPER)]
    return ordered[places[0]], ordered[places[1]]


def _fit(x: Floats, y: Floats) -> tuple[float, float]:
    fit = flex.linear_regression(flex.double(x), flex.double(y))
    return fit.slope(), fit.y_intercept()


def _are_below(x: Floats, y: Floats, slope: float, intercept: float) -> Selection:
    """Tell which points are below a line, by the sign that `points_below_line` computes, of zeros too."""
    rise = (slope * 1 + intercept) - intercept
    return np.signbit((0 + (x - 0) * -rise) + (y - intercept) * 1)
