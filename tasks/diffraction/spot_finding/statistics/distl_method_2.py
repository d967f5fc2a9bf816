"""Resolution by method 2 of Zhang, Sauter et al., J. Appl. Cryst. 39 (2006) 112-119, section 2.4.4.

As `per_image_analysis.estimate_resolution_limit_distl_method2`: spots are counted in shells of equal volume; the limit
is where two shells in a row have less than 15 % of the innermost ones' spots.
"""

from __future__ import annotations

import math

import numpy as np
from dials.array_family import flex

from tasks.diffraction.spot_finding.left_to_dials import LeftToDials
from tasks.diffraction.spot_finding.statistics.columns import Array, Floats

_SPOTS_IN_SHELL = 25
_FEWEST_SHELLS, _MOST_SHELLS = 20, 40
_FEW = 0.15


def estimate_by_method_2(falling_d: Floats) -> tuple[float, float]:
    """Return the resolution (Å) and the noisiness (0 to 1).

    Parameters
    ----------
    falling_d
        Of more than 10 spots, Å, from the highest.

    Raises
    ------
    LeftToDials
        There's no shell: spots are too few, or have the same resolution.
    """
    edges = _shell_edges(falling_d)
    counts = _count_in_shells(falling_d, edges)
    few = _FEW * ((int(counts[0]) + int(counts[1])) / 2)
    is_empty = (counts[:-1] < few) & (counts[1:] < few)
    last = int(np.argmax(is_empty)) if is_empty.any() else len(counts) - 2
    pairs = np.triu(counts[:, None] <= counts[None, :], 1).sum()
    return edges[last + 1], int(pairs) / (0.5 * len(counts) * (len(counts) - 1))


def _shell_edges(falling_d: Floats) -> list[float]:
    """Return the shells' ends, Å, from the highest: as `binner_d_star_cubed`."""
    distinct = falling_d[np.flatnonzero(np.append(True, falling_d[1:] != falling_d[:-1]))]
    count = len(distinct)
    innermost = math.ceil(min(max(_SPOTS_IN_SHELL, 0.05 * count), 0.25 * count))
    if innermost >= count:
        raise LeftToDials("spots of one resolution")
    # The same function of DIALS on three of its numbers.
    begin, within, end = flex.pow(flex.double(1 / distinct[[0, innermost, -1]]), 3)
    if not within > begin:
        raise LeftToDials("spots of one resolution")
    shells = min(max(math.ceil((end - begin) / (within - begin)), _FEWEST_SHELLS), _MOST_SHELLS)
    step = (end - begin) / shells
    return [1 / (begin + number * step) ** (1 / 3) if number else 1 / begin ** (1 / 3) for number in range(shells + 1)]


def _count_in_shells(falling_d: Floats, edges: list[float]) -> Array:
    """Return how many spots each shell has: below its upper end, from its lower one on."""
    below = np.searchsorted(falling_d[::-1], edges)
    return np.maximum(below[:-1] - below[1:], 0)
