"""The same pixels without native code of ours: DIALS's own threshold, its arrays kept from image to image.

Half of what a threshold costs DIALS's spot finder is memory: a table of 24 bytes a pixel is made anew, and zeroed, for
each image. Kept, the same C++ takes half to a third of the time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tasks.diffraction.kernel.threshold import (
    KERNEL_SIZE,
    DialsRules,
    DispersionParameters,
    check_shape,
    check_usable,
    trusted_counts,
)


class DialsThreshold:
    """Finds the strong pixels of one panel by DIALS's threshold.

    Parameters
    ----------
    usable, trusted, parameters, rules
        As `CompiledThreshold` has them; only the trusted range goes by the rules.

    Raises
    ------
    ValueError
        `usable` or `trusted` isn't what it should be.
    """

    def __init__(
        self,
        usable: np.ndarray[Any, np.dtype[np.bool_]],
        trusted: tuple[float, float],
        parameters: DispersionParameters,
        rules: DialsRules = DialsRules(),  # noqa: B008 - frozen
    ) -> None:
        from dials.algorithms.image import threshold
        from dials.array_family import flex
        from dxtbx import flumpy

        check_usable(usable, trusted)
        self.declined = ""
        self._usable = np.array(usable, order="C", copy=True)
        self._trusted, self._rules = trusted, rules
        made_by = threshold.DispersionExtendedThreshold if parameters.extended else threshold.DispersionThreshold
        self._dials = made_by(
            usable.shape,
            KERNEL_SIZE,
            parameters.sigma_background,
            parameters.sigma_strong,
            parameters.global_threshold,
            parameters.min_count,
        )
        # DIALS's arrays, and the same memory as numpy's
        grid = flex.grid(usable.shape)
        self._arrays = flex.double(grid), flex.bool(grid), flex.bool(grid)
        self._counts, self._mask, self._strong = map(flumpy.to_numpy, self._arrays)
        self._low_enough = np.empty(usable.shape, np.bool_)

    def find(self, counts: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.int64]] | None:
        """Find the strong pixels of an image, as `Threshold.find` says."""
        check_shape(counts, self._usable.shape)
        self.declined = ""
        if counts.dtype.kind not in "iu":
            self.declined = f"counts are {counts.dtype}"
            return None
        lowest, highest = trusted_counts(self._trusted, counts.dtype, self._rules.ends_trusted)
        np.greater_equal(counts, lowest, out=self._mask)
        np.less_equal(counts, highest, out=self._low_enough)
        self._mask &= self._low_enough
        self._mask &= self._usable
        np.copyto(self._counts, counts)
        self._dials(*self._arrays)
        return np.flatnonzero(self._strong)
