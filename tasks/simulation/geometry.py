"""The simulated beamline's detectors and where they stand."""

import math
from dataclasses import dataclass
from enum import StrEnum

# Dectris' numbers for Pilatus, x (fast axis) before y (slow axis): a module, and from one module to the next.
PIXEL_MM = 0.172
SENSOR_MM = 0.32  # of silicon
MODULE_PIXELS = (487, 195)
MODULE_PITCH = (494, 212)


class DetectorSize(StrEnum):
    """Pilatus detectors by their number of pixels; the NXmx form has the same pixels."""

    K300 = "300k"
    M1 = "1m"
    M2 = "2m"
    M6 = "6m"

    @property
    def pixels(self) -> tuple[int, int]:
        """Width (fast axis) and height (slow axis), gaps between modules counted."""
        modules_x, modules_y = {"300k": (1, 3), "1m": (2, 5), "2m": (3, 8), "6m": (5, 12)}[self.value]
        return (
            modules_x * MODULE_PITCH[0] - (MODULE_PITCH[0] - MODULE_PIXELS[0]),
            modules_y * MODULE_PITCH[1] - (MODULE_PITCH[1] - MODULE_PIXELS[1]),
        )


@dataclass(frozen=True)
class Geometry:
    """A flat detector square to the beam.

    Parameters
    ----------
    wavelength_a
        Å.
    distance_mm
        From the crystal.
    beam_x_px, beam_y_px
        Where the beam meets it, in pixels along the fast and the slow axis from the outer corner of the top left one.
    """

    detector: DetectorSize
    wavelength_a: float
    distance_mm: float
    beam_x_px: float
    beam_y_px: float

    @classmethod
    def of(cls, detector: DetectorSize, wavelength_a: float, distance_mm: float) -> "Geometry":
        """Place a detector with the beam near its middle; off centre, so that a swapped axis shows."""
        width, height = detector.pixels
        return cls(detector, wavelength_a, distance_mm, width / 2 + 3.3, height / 2 - 5.6)

    @property
    def width(self) -> int:
        """Pixels along the fast axis."""
        return self.detector.pixels[0]

    @property
    def height(self) -> int:
        """Pixels along the slow axis."""
        return self.detector.pixels[1]

    @property
    def edge_resolution_a(self) -> float:
        """Resolution in Å at the detector's nearest edge."""
        x, y = self.beam_x_px, self.beam_y_px
        radius_mm = PIXEL_MM * min(x, y, self.width - x, self.height - y)
        return self.wavelength_a / (2 * math.sin(0.5 * math.atan2(radius_mm, self.distance_mm)))
