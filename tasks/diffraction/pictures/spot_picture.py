"""An image and where its spots are, for people: found by DIALS as its statistics are, whichever way those come by."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from cctbx import uctbx
from dials.algorithms.spot_finding import per_image_analysis
from dials.array_family import flex
from dxtbx import flumpy
from scitbx import matrix

from blocks.errors import PlazaError
from tasks.diffraction.answers import Ring, SpotPicture
from tasks.diffraction.image_files.data_sets import DataSets
from tasks.diffraction.image_files.explaining import explain_failure
from tasks.diffraction.pictures.bitmaps import bin_by_maximum, correction_of, shade
from tasks.diffraction.pictures.preview_counts import read_counts
from tasks.diffraction.requests import SpotPictureRequest
from tasks.diffraction.spot_finding.dials_way import DialsWay
from tasks.diffraction.spot_finding.images import select_experiments

BRIGHTNESS = 60.0  # %, as previews have it
RINGS_A = (20.0, 10.0, 7.0, 5.0, 4.0, 3.0, 2.5, 2.0, 1.8, 1.5, 1.2, 1.0, 0.8, 0.6, 0.5)
_STEP_DEG = 0.5  # between the places of a ring


def picture_spots(request: SpotPictureRequest, data_sets: DataSets) -> SpotPicture:
    """Find an image's spots, and show where they are.

    Raises
    ------
    ImageUnreadable
        The file is missing or incomplete, or has no such image.
    """
    with data_sets.using(request.file) as data_set:
        counts = read_counts(data_set, request.index)
        scan_range = None if data_set.is_single_image else (request.index, request.index)
        experiments = select_experiments(data_set, scan_range)
        data_set.require(scan_range)
        try:
            reflections = DialsWay(request.options).find_reflections(experiments, scan_range)
        except PlazaError:
            raise
        except Exception as error:  # DIALS raises whatever its many parts do: RuntimeError, IndexError, Sorry
            raise explain_failure(error, f"find the spots of {request.image}", data_set.content) from error
        experiment = experiments[0]
        binning = -(-max(counts.shape) // request.longest_side)
        spots, ice, beyond = _sort(reflections, experiment.detector, request)
        return SpotPicture(
            shades=shade(bin_by_maximum(counts, binning), correction_of(counts, BRIGHTNESS)),
            binning=binning,
            spots=spots,
            ice=ice,
            beyond=beyond,
            rings=tuple(_rings(experiment)),
            beam=_beam_place(experiment),
            distance_mm=float(experiment.detector[0].get_directed_distance()),
            wavelength_a=float(experiment.beam.get_wavelength()),
        )


def _sort(reflections: Any, detector: Any, request: SpotPictureRequest) -> tuple[np.ndarray[Any, Any], ...]:
    """Return the places of the spots that count, of those on ice rings, and of those beyond the resolution limits."""
    places = _places(reflections, detector)
    resolution = flumpy.to_numpy(uctbx.d_star_sq_as_d(flex.pow2(reflections["rlp"].norms())))
    options = request.options
    counts = np.ones(len(places), dtype=bool)
    if options.d_min:
        counts &= resolution >= options.d_min
    if options.d_max:
        counts &= resolution <= options.d_max
    on_ice = np.zeros(len(places), dtype=bool)
    if options.filter_ice and counts.any():
        within = reflections.select(flumpy.from_numpy(counts))
        selected = per_image_analysis.ice_rings_selection(within, width=options.ice_rings_width)
        if selected is not None:
            on_ice[np.flatnonzero(counts)] = flumpy.to_numpy(selected)
    return places[counts & ~on_ice], places[counts & on_ice], places[~counts]


def _places(reflections: Any, detector: Any) -> np.ndarray[Any, Any]:
    """Return where spots are on the whole image: shape (spots, 2), pixels, fast and slow."""
    if not len(reflections):
        return np.empty((0, 2))
    centroids = flumpy.to_numpy(reflections["xyzobs.px.value"])[:, :2]
    corners = np.array(_panel_corners(detector), dtype=float)
    return np.asarray(centroids + corners[flumpy.to_numpy(reflections["panel"]).astype(int)])


def _panel_corners(detector: Any) -> list[tuple[int, int]]:
    """Return where panels begin on the whole image, (fast, slow), as `read_counts` lays them out."""
    corners = [panel.get_raw_image_offset() for panel in detector]
    if len(set(corners)) == len(corners):
        return corners
    tops = np.cumsum([0, *(panel.get_image_size()[1] for panel in detector)])
    return [(0, int(top)) for top in tops[:-1]]


def _beam_place(experiment: Any) -> tuple[float, float] | None:
    places = list(_place_on_panels(experiment.detector, experiment.beam.get_s0()))
    return places[0] if places else None


def _rings(experiment: Any) -> Iterator[Ring]:
    """Yield the rings of which a part is on the detector."""
    detector, beam = experiment.detector, experiment.beam
    s0 = matrix.col(beam.get_s0())
    across = s0.ortho()
    for d_a in RINGS_A:
        sine = beam.get_wavelength() / (2 * d_a)
        if sine >= 1:
            return
        inner = s0.rotate_around_origin(across, 2 * math.asin(sine))
        angles = np.arange(0.0, 360.0 + _STEP_DEG, _STEP_DEG)
        rays = (inner.rotate_around_origin(s0, float(angle), deg=True) for angle in angles)
        places = np.array([next(_place_on_panels(detector, ray), (math.nan, math.nan)) for ray in rays])
        if np.isfinite(places).any():
            yield Ring(d_a, places)


def _place_on_panels(detector: Any, ray: Any) -> Iterator[tuple[float, float]]:
    """Yield where a ray meets a panel, in pixels of the whole image: fast, slow."""
    for panel, corner in zip(detector, _panel_corners(detector), strict=True):
        try:
            fast, slow = panel.get_ray_intersection_px(ray)
        except RuntimeError:  # it's parallel to the panel, or leads away from it
            continue
        width, height = panel.get_image_size()
        if 0 <= fast <= width and 0 <= slow <= height:
            yield fast + corner[0], slow + corner[1]
