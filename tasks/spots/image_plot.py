"""An image with its spots, drawn for people."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import numpy as np

from tasks.diffraction.answers import Ring, SpotPicture
from tasks.diffraction.requests import ImageStatistics
from tasks.spots.plot_file import save

LONGEST_IN: Final = 9.0  # inches, of the image
DPI: Final = 180
RING_COLOUR: Final = "#2b7a9e"
KINDS: Final = (
    ("spots", "#d1261f", "o", "{}"),
    ("ice", "#e08a00", "D", "{} on ice rings"),
    ("beyond", "#7d5ba6", "s", "{} outside of the resolution limits, not counted"),
)
_CLOSEST: Final = 0.05  # of the longer side, from ring to ring
_MARKER: Final = 24.0  # points², around a spot and not on it
_LABEL_DEG: Final = 45.0
_LABEL_MARGIN: Final = 0.03  # of the longer side, so that a label isn't cut


def plot_image(path: Path, name: str, statistics: ImageStatistics, picture: SpotPicture) -> None:
    """Draw an image, dark spots on white, with its spots marked and resolution rings.

    Parameters
    ----------
    path
        Its suffix says in which format.
    name
        Of the image.

    Raises
    ------
    PlotUnwritable
        It can't be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height, width = (size * picture.binning for size in picture.shades.shape)
    scale = LONGEST_IN / max(width, height)
    figure = Figure(figsize=(width * scale + 0.3, height * scale + 1.15))
    FigureCanvasAgg(figure)
    across, along = figure.get_size_inches()
    axes = figure.add_axes((0.15 / across, 0.4 / along, width * scale / across, height * scale / along))
    axes.imshow(picture.shades, cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0), interpolation="nearest")
    axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    _draw_rings(axes, picture, max(width, height))
    for kind, colour, marker, words in KINDS:
        places = getattr(picture, kind)
        if len(places):
            axes.scatter(
                *places.T,
                s=_MARKER,
                marker=marker,
                facecolors="none",
                edgecolors=colour,
                linewidths=0.7,
                zorder=3,  # above the rings' labels
                label=words.format(_counted(len(places), "spot")),
            )
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="lower center", ncols=3, frameon=False, fontsize=9, markerscale=1.5, handletextpad=0.2)
    _write_title(figure, along, name, statistics, picture)
    save(figure, path, DPI)


def _write_title(figure: Any, along: float, name: str, statistics: ImageStatistics, picture: SpotPicture) -> None:
    middle = {"x": 0.5, "ha": "center", "va": "top", "parse_math": False}
    figure.text(y=1 - 0.1 / along, s=name, fontsize=12, weight="bold", **middle)
    figure.text(y=1 - 0.33 / along, s=describe(statistics), fontsize=9.5, **middle)
    setup = f"detector at {picture.distance_mm:.1f} mm, wavelength {picture.wavelength_a:.4f} Å"
    figure.text(y=1 - 0.53 / along, s=setup, fontsize=8, color="#666666", **middle)


def describe(statistics: ImageStatistics) -> str:
    """Say the main numbers in a line."""
    resolution = f"{statistics.estimated_d_min:.2f} Å" if 0 < statistics.estimated_d_min < math.inf else "unknown"
    return (
        f"{_counted(statistics.n_spots_total, 'spot')}, {statistics.n_spots_no_ice:,} without ice, "
        f"{statistics.n_spots_4A:,} at d > 4 Å   ·   estimated resolution {resolution}   ·   "
        f"total intensity {statistics.total_intensity:,.0f}"
    )


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _draw_rings(axes: Any, picture: SpotPicture, longest: int) -> None:
    last = 0.0
    for ring in picture.rings:
        radius = _radius(ring, picture.beam, longest)
        if radius - last < _CLOSEST * longest:
            continue
        last = radius
        axes.plot(*ring.places.T, color=RING_COLOUR, linewidth=0.7, alpha=0.8)
        axes.text(
            *_label_place(ring, axes),
            f"{ring.d_a:g} Å",
            color=RING_COLOUR,
            fontsize=7.5,
            ha="center",
            va="center",
            clip_on=True,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8},
        )
    if picture.beam is not None:
        axes.plot(*picture.beam, marker="+", color=RING_COLOUR, markersize=9, markeredgewidth=1.0)


def _radius(ring: Ring, beam: tuple[float, float] | None, longest: int) -> float:
    """Return how far a ring is from the beam, in pixels; where that isn't on the detector, rings are taken as apart."""
    if beam is None:
        return float(longest * 1000 / ring.d_a)
    return float(np.nanmedian(np.hypot(*(ring.places - beam).T)))


def _label_place(ring: Ring, axes: Any) -> tuple[float, float]:
    """Return where on the detector a ring's label belongs: up right, or as near to that as the ring is there."""
    size = np.array([axes.get_xlim()[1], axes.get_ylim()[0]])
    margin = _LABEL_MARGIN * size.max()
    inside = ((ring.places > margin) & (ring.places < size - margin)).all(axis=1)  # False where it's NaN
    there = np.flatnonzero(inside if inside.any() else np.isfinite(ring.places).all(axis=1))
    middle = np.nanmean(ring.places, axis=0)
    offsets = ring.places[there] - middle
    angles = np.degrees(np.arctan2(-offsets[:, 1], offsets[:, 0]))
    nearest = there[np.argmin(np.abs((angles - _LABEL_DEG + 180) % 360 - 180))]
    return float(ring.places[nearest, 0]), float(ring.places[nearest, 1])
