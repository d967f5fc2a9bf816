"""The threshold by DIALS's own objects, kept, until there is a kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from dials.algorithms.image import threshold
from dials.array_family import flex
from dxtbx import flumpy


@dataclass(frozen=True)
class DispersionParameters:
    extended: bool
    sigma_background: float = 6.0
    sigma_strong: float = 3.0
    global_threshold: float = 0.0
    min_count: int = 2


class Threshold:
    declined = ""

    def __init__(self, usable: Any, trusted: tuple[float, float], parameters: DispersionParameters) -> None:
        kind = threshold.DispersionExtendedThreshold if parameters.extended else threshold.DispersionThreshold
        numbers = (parameters.sigma_background, parameters.sigma_strong, parameters.global_threshold)
        self._find = kind(usable.shape, (3, 3), *numbers, parameters.min_count)
        grid = flex.grid(usable.shape)
        self._usable, self._trusted = usable, trusted
        self._counts, self._mask, self._strong = flex.double(grid), flex.bool(grid), flex.bool(grid)

    def find(self, counts: Any) -> Any:
        mask = flumpy.to_numpy(self._mask)
        np.copyto(flumpy.to_numpy(self._counts), counts)
        np.greater(counts, self._trusted[0], out=mask)
        mask &= counts < self._trusted[1]
        mask &= self._usable
        self._find(self._counts, self._mask, self._strong)
        return np.flatnonzero(flumpy.to_numpy(self._strong))


def make_threshold(usable: Any, trusted: tuple[float, float], parameters: DispersionParameters) -> Threshold:
    return Threshold(usable, trusted, parameters)
