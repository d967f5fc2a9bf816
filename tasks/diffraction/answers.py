"""What a DIALS process says of a file's content and of where spots are. Light: who asks needn't have DIALS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class StoredImages:
    """The images of a file.

    Parameters
    ----------
    stored
        Numbers of the images that are there, from 1, in order.
    expected
        How many there are to be.
    parts
        Other files that the file names: data files, meta files. Their paths as they are found.
    """

    stored: tuple[int, ...]
    expected: int
    parts: tuple[str, ...] = ()

    @property
    def missing(self) -> int:
        """How many images aren't there."""
        return self.expected - len(self.stored)


@dataclass(frozen=True, slots=True)
class Ring:
    """Where a resolution is on an image.

    Parameters
    ----------
    d_a
        The resolution, Å.
    places
        shape (points, 2), in pixels of the image: fast, slow; NaN between pieces, where it leaves a panel.
    """

    d_a: float
    places: np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class SpotPicture:
    """An image with its spots. All places are in pixels of the image, not of the picture: fast, slow.

    Parameters
    ----------
    shades
        shape (height, width), slow and fast, unsigned bytes: 0 (black) to 255; each is `binning` × `binning` pixels.
    spots
        shape (spots, 2): centroids of the spots that count.
    ice, beyond
        The same for those on ice rings, and for those outside of d_min and d_max, which don't count.
    beam
        Where the beam meets the detector; None: it doesn't.
    distance_mm, wavelength_a
        Of the detector's first panel from the crystal; of the beam.
    """

    shades: np.ndarray[Any, Any]
    binning: int
    spots: np.ndarray[Any, Any]
    ice: np.ndarray[Any, Any]
    beyond: np.ndarray[Any, Any]
    rings: tuple[Ring, ...]
    beam: tuple[float, float] | None
    distance_mm: float
    wavelength_a: float
