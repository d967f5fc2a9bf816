"""Resolution by method 1 of Zhang, Sauter et al., J. Appl. Cryst. 39 (2006) 112-119, section 2.4.4.

As `per_image_analysis.estimate_resolution_limit_distl_method1`: 1/d³ of spots in the order of resolution is about a
straight line as far as spots fill reciprocal space; where it leaves the line most is the limit.
"""

from __future__ import annotations

import numpy as np
from dials.array_family import flex
from scitbx import matrix

from tasks.diffraction.spot_finding.statistics.columns import Floats, SpotColumns

_MOST_POINTS = 40
_SKIPPED = 3


def estimate_by_method_1(
    spots: SpotColumns, by_resolution: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> tuple[float, float]:
    """Return the resolution (Å) and the noisiness (0 to 1).

    Parameters
    ----------
    spots
        More than 10.
    by_resolution
        Their places in the order of falling d; of equal ones that in the order of the table.
    """
    step = max(2, -(-len(spots) // _MOST_POINTS))
    points = by_resolution[: len(spots) // step * step : step]
    d_star_cubed = flex.pow(flex.double(spots.norms[points]), 3).as_numpy_array()
    slopes = (d_star_cubed[1:] - d_star_cubed[0]) / np.arange(1, len(points), dtype=float)
    end = int(np.argmax(slopes[_SKIPPED:])) + 1 + _SKIPPED
    gaps = _distances_from_line(d_star_cubed, end)
    deviation = flex.mean_and_variance(flex.double(gaps)).unweighted_sample_standard_deviation()
    widest = int(np.argmax(gaps))
    others = np.flatnonzero(gaps[widest + 1 :] > gaps[widest] - 0.5 * deviation)
    chosen = widest + 1 + int(others[-1]) if len(others) else widest
    return float(spots.d[points[chosen]]), _noisiness(slopes)


def _distances_from_line(d_star_cubed: Floats, end: int) -> Floats:
    """Return the distances of points 0 to `end` (excluded) from the line through points 0 and `end`."""
    across = matrix.col((float(d_star_cubed[end] - d_star_cubed[0]), -float(end))).normalize()
    numbers = np.arange(end, dtype=float)
    distances: Floats = np.abs((0 + across[0] * (0 - numbers)) + across[1] * (d_star_cubed[0] - d_star_cubed[:end]))
    return distances


def _noisiness(slopes: Floats) -> float:
    """Return which part of the pairs of slopes falls, or doesn't rise."""
    pairs = np.triu(slopes[:, None] >= slopes[None, :], 1).sum()
    count = len(slopes) + 1
    return int(pairs) / ((count - 1) * (count - 2) / 2)
