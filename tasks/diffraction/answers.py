"""What a DIALS process says of a file's content and of where spots are. Light: who asks needn't have DIALS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class UnreadFile:
    """A data file whose images can't be had.

    Parameters
    ----------
    reason
        What is the matter with it, as a verb and what belongs to it.
    first
        Number of the first one of its images.
    is_to_come
        It isn't there yet, or is held by its writer.
    """

    file: str
    reason: str
    first: int
    is_to_come: bool


@dataclass(frozen=True, slots=True)
class StoredImages:
    """The images of a file.

    Parameters
    ----------
    stored
        Numbers of the images that are there, from 1, in order.
    expected
        How many there are to be.
    last
        Number of the last one: larger than `expected` where the numbers have a gap that is mapped to no file.
    parts
        Other files that the file names: data files, meta files. Their paths as they are found.
    unread
        Data files that can't be read, or aren't there; in the order of their images.
    """

    stored: tuple[int, ...]
    expected: int
    last: int
    parts: tuple[str, ...] = ()
    unread: tuple[UnreadFile, ...] = ()

    @property
    def missing(self) -> int:
        """How many images aren't there."""
        return self.expected - len(self.stored)

    @property
    def damages(self) -> tuple[UnreadFile, ...]:
        """The data files of which a writer that goes on in order would leave none as it is.

        They are broken, or not there though images that come after theirs are.
        """
        last = self.stored[-1] if self.stored else 0
        return tuple(file for file in self.unread if not file.is_to_come or file.first < last)


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
