"""Which spots count, by their resolution."""

from __future__ import annotations

from typing import Any

from cctbx import uctbx
from dials.array_family import flex

from tasks.diffraction.requests import SpotFindingOptions


def within_resolution(reflections: Any, options: SpotFindingOptions) -> Any:
    """Return the spots between d_min and d_max (Å), as `work()` does: by their own places, not by masked pixels.

    Parameters
    ----------
    reflections
        A DIALS reflection table of spots, mapped to reciprocal space.
    """
    d_min, d_max = options.d_min, options.d_max
    if not d_min and not d_max:
        return reflections
    resolution = uctbx.d_star_sq_as_d(flex.pow2(reflections["rlp"].norms()))
    keep = flex.bool(len(reflections), True)
    if d_min:
        keep &= resolution >= d_min
    if d_max:
        keep &= resolution <= d_max
    return reflections.select(keep)
