"""Which spots lie on rings of hexagonal ice, as `per_image_analysis.ice_rings_selection` tells.

DIALS makes the list of rings anew for each image, out to its outermost spot, and compares each spot with each ring.
Here a longer list is kept, and each spot compared with the nearest ring on both sides.
"""

from __future__ import annotations

import numpy as np
from cctbx import sgtbx, uctbx
from dials.algorithms.integration.filtering import PowderRingFilter
from dials.array_family import flex

from tasks.diffraction.spot_finding.left_to_dials import LeftToDials
from tasks.diffraction.spot_finding.statistics.columns import Floats, Selection

_CELL = (4.498, 4.498, 7.338, 90, 90, 120)  # of hexagonal ice, Å and degrees, and its space group: those of DIALS
_SPACE_GROUP = 194
_USUAL_LIMIT_A = 0.7
_CLOSE = 1e-9
"""Relative distance of a ring from the end of DIALS's list within which rounding may decide whether it is on it."""


class IceRings:
    """The rings of hexagonal ice.

    Parameters
    ----------
    width
        Of a ring, in 1/d² (1/Å²).
    """

    def __init__(self, width: float) -> None:
        self._width = width
        self._half_width = width / 2.0
        self._limit_a = np.inf
        self._rings: Floats = np.empty(0)

    def select(self, d: Floats) -> Selection:
        """Tell which spots lie on a ring.

        Parameters
        ----------
        d
            Of the spots, Å.

        Raises
        ------
        LeftToDials
            A ring has no width.
        """
        if not len(d):
            return np.empty(0, bool)
        if not self._width > 0:
            raise LeftToDials("rings of ice without width")
        rings = self._rings_to(float(d.min()))
        if not len(rings):
            return np.zeros(len(d), bool)
        # Not the number that d was made of, but that which DIALS makes of d.
        d_star_sq = uctbx.d_as_d_star_sq(flex.double(d)).as_numpy_array()
        above = np.searchsorted(rings, d_star_sq)
        nearest = rings[np.maximum(above - 1, 0)], rings[np.minimum(above, len(rings) - 1)]
        selection: Selection = np.abs(d_star_sq - nearest[0]) < self._half_width
        selection |= np.abs(d_star_sq - nearest[1]) < self._half_width
        return selection

    def _rings_to(self, d_min: float) -> Floats:
        """Return rings (1/Å², increasing) that select what DIALS's own list to `d_min` selects."""
        if d_min < self._limit_a:
            self._limit_a = min(_USUAL_LIMIT_A, 0.9 * d_min)
            self._rings = self._list_rings(self._limit_a)
        end = 1.0 / (d_min * d_min) + self._half_width
        at = int(np.searchsorted(self._rings, end * (1 - _CLOSE)))
        if at < len(self._rings) and self._rings[at] <= end * (1 + _CLOSE):
            return self._list_rings(d_min)
        return self._rings[:at]

    def _list_rings(self, d_min: float) -> Floats:
        group = sgtbx.space_group_info(number=_SPACE_GROUP).group()
        rings = PowderRingFilter(uctbx.unit_cell(_CELL), group, d_min, self._width).d_star_sq
        distinct: Floats = np.unique(rings.as_numpy_array())
        return distinct
