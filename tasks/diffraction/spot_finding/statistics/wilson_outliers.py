"""Spots too strong for Wilson statistics, as `per_image_analysis.wilson_outliers` finds them, in all bins at once.

See Read, Acta Cryst. D55 (1999) 1759-1764 (http://scripts.iucr.org/cgi-bin/paper?ba0032).
"""

from __future__ import annotations

import math

import numpy as np

from tasks.diffraction.spot_finding.statistics.columns import Array, Floats, Selection

_PROBABILITY = 1e-2
_LARGEST_E = math.sqrt(-math.log(_PROBABILITY))


def find_wilson_outliers(intensities: Floats, on_ice: Selection, bins: Array, bin_count: int) -> Selection:
    """Tell which spots are outliers within their bins.

    Parameters
    ----------
    intensities
        Above 0.
    on_ice
        Spots that aren't counted in a bin's mean.
    bins
        Each spot's bin, from 0; -1: in none.
    """
    outliers = np.zeros(len(intensities), bool)
    amplitudes = np.sqrt(intensities)
    # Bins of ice alone have no outliers, as in DIALS. In others a counted spot is always left: the weakest isn't one.
    has_counted = np.bincount(bins[(bins >= 0) & ~on_ice], minlength=bin_count) > 0
    among = np.flatnonzero((bins >= 0) & has_counted[bins])
    while len(among):
        own = bins[among]
        counted = ~on_ice[among]
        # Sums go through the spots in their order, as DIALS's do.
        sums = np.bincount(own[counted], weights=intensities[among[counted]], minlength=bin_count)
        counts = np.bincount(own[counted], minlength=bin_count)
        means = sums * (1.0 / np.maximum(counts, 1))
        found = amplitudes[among] / np.sqrt(means)[own] >= _LARGEST_E
        outliers[among[found]] = True
        has_found = np.zeros(bin_count, bool)
        has_found[own[found]] = True
        among = among[~found & has_found[own]]  # bins without further outliers are done
    return outliers
