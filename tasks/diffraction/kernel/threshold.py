"""What a threshold is: it tells which pixels of a panel are strong, however it does that."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

KERNEL_SIZE: Final = (3, 3)
"""Of the window, to either side: 7 × 7 pixels. DIALS's default, and the only one that is compiled."""

PIXELS_OF_WINDOW: Final = math.prod(2 * size + 1 for size in KERNEL_SIZE)


@dataclass(frozen=True, slots=True)
class DispersionParameters:
    """What makes a pixel strong; the names and defaults of DIALS's `spotfinder.threshold.dispersion`, with a gain of 1.

    Parameters
    ----------
    extended
        Whether the background is that of `dispersion_extended`, without the pixels of spots.
    sigma_background
        By how many standard deviations the index of dispersion of the 7 × 7 pixels around it must exceed 1.
    sigma_strong
        By how many standard deviations the pixel must exceed the mean.
    global_threshold
        What it must count more than.
    min_count
        How many of the 7 × 7 pixels must be valid (DIALS's `min_local`), from 2 to 49; 0 or less: all.

    Raises
    ------
    ValueError
        DIALS wouldn't take one of these.
    """

    extended: bool
    sigma_background: float = 6.0
    sigma_strong: float = 3.0
    global_threshold: float = 0.0
    min_count: int = 2

    def __post_init__(self) -> None:
        for name in ("sigma_background", "sigma_strong", "global_threshold"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} is a number from 0 on; seen {value}")
        if self.min_count == 1 or self.min_count > PIXELS_OF_WINDOW:
            raise ValueError(f"min_count is from 2 to {PIXELS_OF_WINDOW}, or 0 for all; seen {self.min_count}")

    @property
    def least_pixels(self) -> int:
        """How many valid pixels a window must have."""
        return self.min_count if self.min_count > 0 else PIXELS_OF_WINDOW


@dataclass(frozen=True, slots=True)
class DialsRules:
    """In what versions of DIALS differ; the defaults are those of Debian 12's.

    Parameters
    ----------
    ends_trusted
        Whether the ends of a panel's trusted range are trusted: since dxtbx 3.12 (cctbx/dxtbx#536).
    gaps_erode
        Whether, to `dispersion_extended`, pixels that aren't valid are background, so that spots within two pixels of a
        gap aren't found: until dials/dials#2790 (2025).
    """

    ends_trusted: bool = False
    gaps_erode: bool = True


class Threshold(Protocol):
    """Finds the strong pixels of one panel, image after image. Not for several threads at once."""

    declined: str
    """Why DIALS must do the last image, a phrase; empty if it needn't."""

    def find(self, counts: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.int64]] | None:
        """Find the strong pixels of an image.

        Parameters
        ----------
        counts
            (slow, fast), of an integer type, C-contiguous.

        Returns
        -------
        ndarray or None
            Their indices in the flattened image, ascending; valid until the next call. None: DIALS must do this image.

        Raises
        ------
        ValueError
            The image has another size than the panel.
        """


def trusted_counts(trusted: tuple[float, float], dtype: np.dtype[Any], ends_trusted: bool) -> tuple[int, int]:
    """Return the lowest and the highest count of an integer type that a trusted range lets pass.

    Parameters
    ----------
    trusted
        The range, as dxtbx has it.
    ends_trusted
        Whether its two ends belong to it.

    Returns
    -------
    tuple[int, int]
        Both ends included; the first is greater than the second if none passes.

    Examples
    --------
    >>> trusted_counts((-1.0, 1048500.0), np.dtype(np.int32), ends_trusted=False)
    (0, 1048499)
    >>> trusted_counts((-0.5, 70000.0), np.dtype(np.uint16), ends_trusted=False)
    (0, 65535)
    """
    limits = np.iinfo(dtype)
    low, high = (min(max(end, limits.min - 1.0), limits.max + 1.0) for end in trusted)
    if ends_trusted:
        lowest, highest = math.ceil(low), math.floor(high)
    else:
        lowest, highest = math.floor(low) + 1, math.ceil(high) - 1
    return max(lowest, int(limits.min)), min(highest, int(limits.max))


def check_usable(usable: np.ndarray[Any, Any], trusted: tuple[float, float]) -> None:
    """Refuse what no panel has.

    Raises
    ------
    ValueError
        With the reason.
    """
    if usable.dtype != np.bool_ or usable.ndim != 2 or usable.size == 0:
        raise ValueError(f"usable pixels are booleans (slow, fast); seen {usable.dtype} {usable.shape}")
    if any(math.isnan(end) for end in trusted):
        raise ValueError(f"a trusted range is two numbers; seen {trusted}")


def check_shape(counts: np.ndarray[Any, Any], shape: tuple[int, ...]) -> None:
    """Refuse an image of another size.

    Raises
    ------
    ValueError
        With both sizes.
    """
    if counts.shape != shape:
        raise ValueError(f"expected an image of {shape} pixels (slow, fast), seen {counts.shape}")
