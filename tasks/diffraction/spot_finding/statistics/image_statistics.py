"""The nine statistics of an image, as `per_image_analysis.stats_for_reflection_table` has them."""

from __future__ import annotations

import numpy as np
from dials.array_family import flex

from tasks.diffraction.requests import ImageStatistics
from tasks.diffraction.spot_finding.left_to_dials import LeftToDials
from tasks.diffraction.spot_finding.statistics.columns import SpotColumns
from tasks.diffraction.spot_finding.statistics.distl_method_1 import estimate_by_method_1
from tasks.diffraction.spot_finding.statistics.distl_method_2 import estimate_by_method_2
from tasks.diffraction.spot_finding.statistics.ice_rings import IceRings
from tasks.diffraction.spot_finding.statistics.resolution_limit import estimate_resolution_limit

_ENOUGH_SPOTS = 10
"""With no more than these off the ice nothing is said of the resolution."""


def summarise(spots: SpotColumns, ice_rings: IceRings | None) -> ImageStatistics:
    """Return what spots say of their image.

    Parameters
    ----------
    ice_rings
        Spots on them are left out of some statistics; None: none are.

    Raises
    ------
    LeftToDials
        They are such as DIALS stumbles over, or nearly so: it's to say itself what is wrong.
    """
    on_ice = ice_rings.select(spots.d) if ice_rings else np.zeros(len(spots), bool)
    off_ice = len(spots) - int(np.count_nonzero(on_ice))
    limits = _estimate_limits(spots, on_ice) if off_ice > _ENOUGH_SPOTS else (-1.0,) * 5
    return ImageStatistics(
        estimated_d_min=limits[0],
        d_min_distl_method_1=limits[1],
        noisiness_method_1=limits[2],
        d_min_distl_method_2=limits[3],
        noisiness_method_2=limits[4],
        n_spots_total=len(spots),
        n_spots_no_ice=off_ice,
        n_spots_4A=int(np.count_nonzero(spots.d > 4)),
        total_intensity=flex.sum(flex.double(spots.intensities[~on_ice])),
    )


def _estimate_limits(spots: SpotColumns, on_ice: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> tuple[float, ...]:
    """Return the resolution by DIALS's method, and resolution and noisiness by the methods of DISTL."""
    for column in (spots.intensities, spots.variances):
        if not ((column > 0) & (column < np.inf)).all():
            raise LeftToDials("spots whose intensity is no number above 0")
    by_resolution = np.argsort(-spots.d, kind="stable")
    falling_d = spots.d[by_resolution]
    return (
        estimate_resolution_limit(spots, on_ice, falling_d),
        *estimate_by_method_1(spots, by_resolution),
        *estimate_by_method_2(falling_d),
    )
