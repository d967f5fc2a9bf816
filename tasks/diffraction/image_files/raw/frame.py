"""An image's counts as they are stored, and which of them DIALS trusts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from tasks.diffraction.kernel.choice import ask_dials
from tasks.diffraction.kernel.threshold import trusted_counts

TrustedRange: TypeAlias = tuple[float, float]
"""Counts between the two are trusted, and the two themselves if this dxtbx trusts them (`ask_dials`)."""

_INT32_END = 2**31


class NotRaw(Exception):
    """Only dxtbx can read these counts; the message is a phrase that says why."""


@dataclass(frozen=True, slots=True)
class RawFrame:
    """The counts of an image.

    Parameters
    ----------
    panels
        Each panel's counts, (slow, fast): integers as they are stored, where possible, C-contiguous. They are valid
        until the next read of this process.
    trusted
        Of each panel: which counts are trusted, as dxtbx means it; not those that stand for a masked pixel.
    """

    panels: tuple[np.ndarray[Any, Any], ...]
    trusted: tuple[TrustedRange, ...]

    def trusted_counts(self, panel: int) -> tuple[int, int]:
        """Return the lowest and the highest count of a panel that are trusted."""
        return trusted_counts(self.trusted[panel], self.panels[panel].dtype, ask_dials().ends_trusted)


def trusted_as_stored(trusted: TrustedRange, dtype: np.dtype[Any], bit_depth: int | None) -> TrustedRange | None:
    """Return which counts are trusted as they are stored: dxtbx makes -1 and -2 of a bit depth's two highest values.

    Parameters
    ----------
    trusted
        Of the counts that dxtbx would make of them: signed integers of 32 bits.
    dtype
        As they are stored.
    bit_depth
        Of the counts, whose two highest values mean masked; None: none do.

    Returns
    -------
    TrustedRange | None
        None if that's no single range: then the counts have to be made into what dxtbx makes of them.
    """
    low, high = trusted
    most = np.iinfo(dtype).max
    top = _top_of(bit_depth)
    first_masked = _INT32_END if top is None else top - 2
    if most < first_masked:
        return trusted
    ends_trusted = ask_dials().ends_trusted
    if low < -1 or (low == -1 and ends_trusted):  # then dxtbx may trust what it has made negative
        return None
    if top is not None and top <= min(most, high):  # then it may trust what is above the masked values
        return None
    return low, min(high, first_masked - ends_trusted)


def _top_of(bit_depth: int | None) -> int | None:
    """Return the value above the highest one of a bit depth, where 32-bit integers may reach it; DIALS's are signed."""
    if not bit_depth or bit_depth > 32:
        return None
    return 2**31 if bit_depth == 32 else 2**bit_depth


def mask_top_values(counts: np.ndarray[Any, Any], bit_depth: int | None) -> None:
    """Make -1 and -2 of the two highest values of a bit depth, as dxtbx does.

    Parameters
    ----------
    counts
        32-bit integers, of any shape; changed in place.
    """
    if (top := _top_of(bit_depth)) is not None:
        counts[counts == top - 1] = -1
        counts[counts == top - 2] = -2
