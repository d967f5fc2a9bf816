"""The same pixels without native code of ours: DIALS's own threshold, its arrays kept from panel to panel.

Half of what a threshold costs DIALS's spot finder is memory: a table of 24 bytes a pixel is made anew, and zeroed, for
each image. Kept, the same C++ takes half to a third of the time.
"""

from __future__ import annotations

import weakref
from typing import Any, Final

import numpy as np

from tasks.diffraction.kernel.threshold import (
    KERNEL_SIZE,
    DialsRules,
    DispersionParameters,
    check_shape,
    check_usable,
    trusted_counts,
)


class _Workspace:
    """DIALS's threshold and the arrays that it works on, for panels of one size: 37 bytes a pixel.

    Parameters
    ----------
    shape
        (slow, fast).
    """

    def __init__(self, shape: tuple[int, ...], parameters: DispersionParameters) -> None:
        from dials.algorithms.image import threshold
        from dials.array_family import flex
        from dxtbx import flumpy

        made_by = threshold.DispersionExtendedThreshold if parameters.extended else threshold.DispersionThreshold
        self._dials = made_by(
            shape,
            KERNEL_SIZE,
            parameters.sigma_background,
            parameters.sigma_strong,
            parameters.global_threshold,
            parameters.min_count,
        )
        # DIALS's arrays, and the same memory as numpy's
        grid = flex.grid(shape)
        self._arrays = flex.double(grid), flex.bool(grid), flex.bool(grid)
        self.counts, self.mask, self.strong = map(flumpy.to_numpy, self._arrays)
        self.low_enough = np.empty(shape, np.bool_)

    def apply(self) -> None:
        """Set `strong` by `counts` and `mask`."""
        self._dials(*self._arrays)


_workspaces: Final[weakref.WeakValueDictionary[Any, _Workspace]] = weakref.WeakValueDictionary()
"""By the panels' shape and the parameters, as long as there are thresholds for them."""


class DialsThreshold:
    """Finds the strong pixels of one panel by DIALS's threshold; all panels of one size in turn, by one thread.

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
        check_usable(usable, trusted)
        self.declined = ""
        self._usable = np.array(usable, order="C", copy=True)
        self._trusted, self._rules = trusted, rules
        key = usable.shape, parameters
        self._workspace = _workspaces.get(key) or _Workspace(*key)
        _workspaces[key] = self._workspace

    def find(self, counts: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.int64]] | None:
        """Find the strong pixels of an image, as `Threshold.find` says."""
        check_shape(counts, self._usable.shape)
        self.declined = ""
        if counts.dtype.kind not in "iu":
            self.declined = f"counts are {counts.dtype}"
            return None
        lowest, highest = trusted_counts(self._trusted, counts.dtype, self._rules.ends_trusted)
        work = self._workspace
        np.greater_equal(counts, lowest, out=work.mask)
        np.less_equal(counts, highest, out=work.low_enough)
        work.mask &= work.low_enough
        work.mask &= self._usable
        np.copyto(work.counts, counts)
        work.apply()
        return np.flatnonzero(work.strong)
