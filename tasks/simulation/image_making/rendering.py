"""Render diffraction images: spots times partiality on a background, Poisson noise, gaps between modules."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import erf

from tasks.simulation.geometry import MODULE_PITCH, MODULE_PIXELS, PIXEL_MM, Geometry
from tasks.simulation.image_making.crystal import Reflections
from tasks.simulation.plan import CollectionPlan

SPOT_SIGMA_PX = 0.75  # spots of three to five pixels, as on a Pilatus
STAMP_PX = 5  # to either side of a spot's centre: more than six sigma
# A still takes as much of a reflection as an image of this width would.
STILL_WIDTH_DEG = 0.1
FAINTEST_COUNTS = 0.3  # in an image: less is lost in the background's noise, and costs as much to draw
BACKGROUND_COUNTS = 1.2  # a pixel
BEAM_STOP_MM = 2.0  # radius of its shadow on the detector
SOLVENT_RING_A = 3.6  # of the water around the crystal
ROCKING_SIGMAS = 4.5  # further from its reflecting position than this a reflection gives less than 1e-5 of its counts


def find_gaps(geometry: Geometry) -> npt.NDArray[np.bool_]:
    """Return where the detector has no pixels: True in gaps, (height, width)."""
    x, y = np.arange(geometry.width), np.arange(geometry.height)
    return (y % MODULE_PITCH[1] >= MODULE_PIXELS[1])[:, None] | (x % MODULE_PITCH[0] >= MODULE_PIXELS[0])[None, :]


def scatter_background(geometry: Geometry) -> npt.NDArray[np.float64]:
    """Return expected counts a pixel of air scatter, a ring of solvent and the beam stop's shadow: (height, width)."""
    x = (np.arange(geometry.width) + 0.5 - geometry.beam_x_px) * PIXEL_MM
    y = (np.arange(geometry.height) + 0.5 - geometry.beam_y_px) * PIXEL_MM
    radius = np.hypot(x[None, :], y[:, None])
    # Bragg: 1/d = 2 sin(theta) / wavelength, and the detector sees 2 theta
    inverse_d = 2 * np.sin(0.5 * np.arctan2(radius, geometry.distance_mm)) / geometry.wavelength_a
    ring = np.exp(-(((inverse_d - 1 / SOLVENT_RING_A) / 0.05) ** 2))
    # A floor, the ring (as wide as 0.05 1/Å), and air scatter, which falls off by e in 0.08 1/Å from the beam
    counts = BACKGROUND_COUNTS * (0.25 + 1.5 * ring + 2.0 * np.exp(-inverse_d / 0.08))
    counts[radius < BEAM_STOP_MM] = 0.02
    return np.asarray(counts, np.float64)


def partiality(reflections: Reflections, start_deg: float, width_deg: float) -> npt.NDArray[np.float64]:
    """Return the part of each reflection that is recorded while the crystal turns through an image.

    Rocking curves are Gaussian. An image of some width has the curve's integral over its rotation; a still, which
    has none, the curve's height there, scaled to `STILL_WIDTH_DEG`.

    Parameters
    ----------
    start_deg, width_deg
        The image's rotation; width 0 for a still.

    Returns
    -------
    NDArray
        A number from 0 to 1 for each reflection, (reflections,).
    """
    spread, phi = reflections.spread_deg, reflections.phi_deg
    if width_deg == 0:
        height = STILL_WIDTH_DEG / (spread * math.sqrt(2 * math.pi))
        return np.asarray(height * np.exp(-0.5 * ((phi - start_deg) / spread) ** 2), np.float64)
    scale = 1 / (spread * math.sqrt(2))
    return np.asarray(0.5 * (erf((start_deg + width_deg - phi) * scale) - erf((start_deg - phi) * scale)), np.float64)


@dataclass(frozen=True)
class Renderer:
    """Renders any image of a data collection; what all its images share is made once.

    Parameters
    ----------
    starts_deg
        Angle at which each image starts.
    strengths
        How much of the crystal each image meets, from 0 to 1.
    background
        Expected counts a pixel, (height, width).
    gaps
        True where there are no pixels, (height, width).
    """

    plan: CollectionPlan
    starts_deg: tuple[float, ...]
    strengths: tuple[float, ...]
    reflections: Reflections
    background: npt.NDArray[np.float64]
    gaps: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, plan: CollectionPlan, reflections: Reflections) -> "Renderer":
        """Make what the images of a plan share."""
        return cls(
            plan,
            plan.starts_deg(),
            plan.strengths(),
            reflections,
            scatter_background(plan.geometry),
            find_gaps(plan.geometry),
        )

    def render(self, index: int) -> npt.NDArray[np.int32]:
        """Return the image of an index from 0: counts, -1 in gaps, (height, width). The same each time."""
        spots, plan = self.reflections, self.plan
        start_deg, strength = self.starts_deg[index], self.strengths[index]
        reach = plan.width_deg / 2 + ROCKING_SIGMAS * spots.spread_deg
        near = np.abs(spots.phi_deg - start_deg - plan.width_deg / 2) < reach
        reflecting = spots.select(near)
        counts = strength * reflecting.counts * partiality(reflecting, start_deg, plan.width_deg)
        seen = counts > FAINTEST_COUNTS
        expected = self.background.copy()
        _add_spots(expected, reflecting.x[seen], reflecting.y[seen], counts[seen])
        # By the index too, so that an image is the same whether or not those before it are rendered.
        image = np.random.default_rng((plan.seed, index)).poisson(expected).astype(np.int32)
        image[self.gaps] = -1
        return image


def _add_spots(
    expected: npt.NDArray[np.float64],
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    counts: npt.NDArray[np.float64],
) -> None:
    """Add Gaussian spots, integrated over each pixel, to the expected counts.

    Parameters
    ----------
    expected
        Counts a pixel, (height, width); changed in place.
    x, y
        The spots' centres in pixels along the fast and the slow axis, (spots,).
    counts
        Of the whole of each spot, (spots,).
    """
    columns, rows = np.floor(x).astype(int), np.floor(y).astype(int)
    edges, offsets = np.arange(-STAMP_PX, STAMP_PX + 2), np.arange(-STAMP_PX, STAMP_PX + 1)
    scale = 1 / (SPOT_SIGMA_PX * math.sqrt(2))
    along_x = 0.5 * np.diff(erf((columns[:, None] + edges - x[:, None]) * scale), axis=1)
    along_y = 0.5 * np.diff(erf((rows[:, None] + edges - y[:, None]) * scale), axis=1)
    # (spots, rows, columns): a Gaussian in two dimensions is the product of those along the axes
    stamps = counts[:, None, None] * along_y[:, :, None] * along_x[:, None, :]
    at_y = np.broadcast_to((rows[:, None] + offsets)[:, :, None], stamps.shape)
    at_x = np.broadcast_to((columns[:, None] + offsets)[:, None, :], stamps.shape)
    height, width = expected.shape
    inside = (at_y >= 0) & (at_y < height) & (at_x >= 0) & (at_x < width)
    # not +=: that adds once only where spots overlap
    np.add.at(expected, (at_y[inside], at_x[inside]), stamps[inside])
