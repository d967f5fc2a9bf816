"""Which threshold is used here."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tasks.diffraction.kernel.by_dials import DialsThreshold
from tasks.diffraction.kernel.compiled import CompiledThreshold, why_not_compiled
from tasks.diffraction.kernel.threshold import DialsRules, DispersionParameters, Threshold


def make_threshold(
    usable: np.ndarray[Any, np.dtype[np.bool_]], trusted: tuple[float, float], parameters: DispersionParameters
) -> Threshold:
    """Return a threshold for one panel: the compiled one if there is one, else DIALS's.

    Parameters
    ----------
    usable
        (slow, fast): false where a pixel isn't to be used, whatever it counts.
    trusted
        The panel's trusted range, as dxtbx has it.
    parameters
        What makes a pixel strong.

    Raises
    ------
    ValueError
        `usable` or `trusted` isn't what it should be.
    """
    way: type[CompiledThreshold | DialsThreshold] = DialsThreshold if why_not_compiled() else CompiledThreshold
    return way(usable, trusted, parameters, ask_dials())


@functools.cache
def ask_dials() -> DialsRules:
    """Return the rules of the DIALS at hand, by what it does."""
    return DialsRules(_are_ends_trusted(), _do_gaps_erode())


def _are_ends_trusted() -> bool:
    from dxtbx.model import Panel
    from scitbx.array_family import flex

    x, y, origin = (1, 0, 0), (0, 1, 0), (0, 0, 0)
    panel = Panel("", "", x, y, origin, (1, 1), (1, 1), (0, 2), 0, "")
    counts = flex.double(flex.grid(1, 1), 2)
    return bool(panel.get_trusted_range_mask(counts)[0])


def _do_gaps_erode() -> bool:
    """Look for a spot in an image that is over the dispersion threshold all over, with a gap next to the spot."""
    counts = np.zeros((5, 5), np.uint8)
    counts[2, 2] = 100
    usable = np.ones((5, 5), np.bool_)
    usable[2, 3] = False
    found = DialsThreshold(usable, (-1.0, 255.0), DispersionParameters(extended=True)).find(counts)
    return found is None or found.size == 0
