"""The columns of a reflection table that the statistics are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.diffraction.spot_finding.left_to_dials import LeftToDials

Array = np.ndarray[Any, Any]
Floats = np.ndarray[Any, np.dtype[np.float64]]
Selection = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class SpotColumns:
    """Spots by their columns, all of one length and in the order of DIALS's table.

    Parameters
    ----------
    norms
        Lengths of the reciprocal lattice vectors, 1/Å.
    d_star_sq, d
        1/d² (1/Å²) and d (Å).
    intensities, variances
        Sums over the pixels, counts.
    """

    norms: Floats
    d_star_sq: Floats
    d: Floats
    intensities: Floats
    variances: Floats

    @classmethod
    def of(cls, reflections: Any) -> SpotColumns:
        """Return the columns of a DIALS reflection table, without spots in the direct beam.

        Raises
        ------
        LeftToDials
            A spot's place is none.
        """
        norms = reflections["rlp"].norms().as_numpy_array()
        d_star_sq = norms * norms
        if not np.isfinite(d_star_sq).all() or not (d_star_sq[norms > 0] > 0).all():
            raise LeftToDials("spots whose place is no number")
        intensities = reflections["intensity.sum.value"].as_numpy_array()
        variances = reflections["intensity.sum.variance"].as_numpy_array()
        with np.errstate(divide="ignore"):
            spots = cls(norms, d_star_sq, 1.0 / np.sqrt(d_star_sq), intensities, variances)
        return spots if (norms > 0).all() else spots.select(norms > 0)

    def select(self, keep: Selection) -> SpotColumns:
        """Return some of the spots."""
        return SpotColumns(
            self.norms[keep], self.d_star_sq[keep], self.d[keep], self.intensities[keep], self.variances[keep]
        )

    def within(self, d_min: float | None, d_max: float | None) -> SpotColumns:
        """Return the spots between two resolutions (Å, both included); 0 or None: no limit, as in `work()`."""
        if not d_min and not d_max:
            return self
        keep = np.ones(len(self), bool)
        if d_min:
            keep &= self.d >= d_min
        if d_max:
            keep &= self.d <= d_max
        return self.select(keep)

    def __len__(self) -> int:
        return len(self.d)
