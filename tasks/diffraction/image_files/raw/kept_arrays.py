"""The memory that images are read into: large arrays made anew for each would cost a page fault every 4 KB."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt


class KeptArrays:
    """Arrays that are valid until the next one for the same purpose is asked for; each purpose's memory is kept."""

    def __init__(self) -> None:
        self._memory: dict[str, np.ndarray[Any, np.dtype[np.uint8]]] = {}

    def array(self, purpose: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> np.ndarray[Any, Any]:
        """Return an array of a shape, C-contiguous, with whatever is in it."""
        dtype = np.dtype(dtype)
        size = prod(shape) * dtype.itemsize
        memory = self._memory.get(purpose)
        if memory is None or memory.size < size:
            self._memory.pop(purpose, None)
            memory = self._memory[purpose] = np.empty(size, np.uint8)
        return memory[:size].view(dtype).reshape(shape)


KEPT = KeptArrays()
"""Those of this process."""
