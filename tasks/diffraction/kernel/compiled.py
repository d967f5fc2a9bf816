"""The compiled kernel: whether it's there, and strong pixels by it."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any, Final

import numpy as np

from tasks.diffraction.kernel.building import build_name
from tasks.diffraction.kernel.threshold import (
    DialsRules,
    DispersionParameters,
    check_shape,
    check_usable,
    trusted_counts,
)
from tasks.diffraction.kernel.whole_library import size_and_least

MODULE: Final = "tasks.diffraction.kernel._compiled"

SET_UP_AGAIN: Final = "with a C compiler and Python's headers at hand, `pip install --editable .` compiles it"

COMPILED_TYPES: Final = frozenset("bBhHiI")
"""Of counts, in native byte order: numpy's characters for 8, 16 and 32 bits, signed and unsigned."""


def _load() -> tuple[Any, str | None]:
    """Return the compiled module, and None; or None, and why there is none to use."""
    try:
        spec = importlib.util.find_spec(MODULE)
        size, least = size_and_least(Path(spec.origin)) if spec and spec.origin else (0, 0)
        if size < least:
            return None, f"its file is cut off ({size:,} bytes of {least:,}); {SET_UP_AGAIN}"
        module = importlib.import_module(MODULE)
    except ModuleNotFoundError:
        return None, f"it isn't compiled; {SET_UP_AGAIN}"
    except (ImportError, OSError) as error:
        return None, f"it can't be loaded ({error}); {SET_UP_AGAIN}"
    try:
        wanted = build_name()
    except OSError as error:
        return None, f"its sources aren't beside it ({error}), so that it can't be told whether it was made from them"
    if wanted != module.BUILD:
        return None, f"it was compiled from other sources ({module.BUILD}, not {wanted}); {SET_UP_AGAIN}"
    return module, None


COMPILED, _WHY_NOT = _load()


def why_not_compiled() -> str | None:
    """Return why the compiled kernel isn't used, and what to do; None if it is."""
    return _WHY_NOT


class CompiledThreshold:
    """Finds the strong pixels of one panel by the compiled kernel; its memory is allocated once.

    Parameters
    ----------
    usable
        (slow, fast): false where a pixel isn't to be used, whatever it counts. Copied.
    trusted
        The range of counts that dxtbx trusts; the panel's mask for one image is `usable` and this.
    parameters
        What makes a pixel strong.
    rules
        Of the DIALS whose pixels are wanted.
    processor
        Whose instructions are used, one of `COMPILED.PROCESSORS`; None: the best of this machine.

    Raises
    ------
    RuntimeError
        The kernel isn't compiled.
    ValueError
        `usable` or `trusted` isn't what it should be.
    """

    def __init__(
        self,
        usable: np.ndarray[Any, np.dtype[np.bool_]],
        trusted: tuple[float, float],
        parameters: DispersionParameters,
        rules: DialsRules = DialsRules(),  # noqa: B008 - frozen
        *,
        processor: str | None = None,
    ) -> None:
        if COMPILED is None:
            raise RuntimeError(f"the spot finder's kernel: {_WHY_NOT}")
        check_usable(usable, trusted)
        self.declined = ""
        self._usable = np.array(usable, order="C", copy=True)
        self._trusted, self._rules, self._processor = trusted, rules, processor
        self._parameters = (
            parameters.extended,
            rules.gaps_erode,
            parameters.sigma_background,
            parameters.sigma_strong,
            parameters.global_threshold,
            parameters.least_pixels,
        )
        self._scratch = np.empty(COMPILED.scratch_size(usable.shape[1]), np.uint8)
        self._found = np.empty(usable.size, np.int64)  # room for all: memory that isn't written to isn't taken
        self._flags = np.zeros(usable.size, np.uint8) if parameters.extended else None

    def find(self, counts: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.int64]] | None:
        """Find the strong pixels of an image, as `Threshold.find` says."""
        check_shape(counts, self._usable.shape)
        found = self._find(counts)
        self.declined = found if isinstance(found, str) else ""
        return None if isinstance(found, str) else self._found[:found]

    def _has_between(self, counts: np.ndarray[Any, Any], lowest: int, highest: int) -> bool:
        """Tell whether a usable pixel counts so much, both ends included; most images have none below 0."""
        if counts.min(initial=0, where=self._usable) >= 0:
            return False
        return bool(((counts >= lowest) & (counts <= highest) & self._usable).any())

    def _find(self, counts: np.ndarray[Any, Any]) -> int | str:
        """Return how many are in `_found`, or why the image is declined."""
        if counts.dtype.char not in COMPILED_TYPES or not counts.dtype.isnative:
            return f"counts are {counts.dtype}"
        lowest, highest = trusted_counts(self._trusted, counts.dtype, self._rules.ends_trusted)
        if lowest < 0:
            if self._has_between(counts, lowest, min(highest, -1)):
                return "negative counts are trusted"
            lowest = 0
        if lowest > highest:
            return 0
        found: int = COMPILED.find_strong(
            np.require(counts, requirements=("C", "A")),
            self._usable,
            self._scratch,
            self._found,
            self._flags,
            (lowest, highest),
            self._parameters,
            self._processor,
        )
        return found if found >= 0 else _DECLINED[found]


_DECLINED: Final = (
    {
        COMPILED.PIXEL_TOO_BRIGHT: "a pixel counts 2^24 or more",
        COMPILED.SUMS_TOO_LARGE: "counts are too high for exact sums",
    }
    if COMPILED
    else {}
)
