"""Spots and statistics by DIALS alone: the judge of Plaza's own way, and what does the images that it isn't proven for.

The numbers are those of `dials.command_line.find_spots_server.work()`: the same functions of DIALS are called in the
same order. What `work()` makes anew for every image (phil, models, the generated mask) is made once.
"""

from __future__ import annotations

from typing import Any

from cctbx import uctbx
from dials.algorithms.spot_finding import per_image_analysis
from dials.algorithms.spot_finding.factory import SpotFinderFactory
from dials.array_family import flex

from tasks.diffraction.requests import ImageStatistics, SpotFindingOptions
from tasks.diffraction.spot_finding.images import ScanRange
from tasks.diffraction.spot_finding.options import read_phil, smallest_spot


class DialsWay:
    """Has DIALS analyse images, all with the same options."""

    def __init__(self, options: SpotFindingOptions) -> None:
        self._options = options
        self._phil = read_phil(options)
        self._min_spot_size = self._phil.spotfinder.filter.min_spot_size
        self._mask: tuple[Any, Any] = (None, None)

    def describe(self, experiments: Any, scan_range: ScanRange) -> ImageStatistics:
        """Find the spots of images `scan_range` (all if None) of experiments, and say what they say.

        Raises
        ------
        Exception
            Whatever the many parts of DIALS raise: RuntimeError, IndexError, Sorry.
        """
        reflections = self.find_reflections(experiments, scan_range)
        statistics = per_image_analysis.stats_for_reflection_table(
            _within_resolution(reflections, self._options),
            filter_ice=self._options.filter_ice,
            ice_rings_width=self._options.ice_rings_width,
        )
        experiments[0].imageset.clear_cache()  # dxtbx keeps the last image's counts: 12 bytes a pixel
        return ImageStatistics(**statistics._asdict())

    def find_reflections(self, experiments: Any, scan_range: ScanRange) -> Any:
        """Return all spots of images as DIALS's reflection table, mapped to reciprocal space; raises as `describe`."""
        reflections = self._make_finder(experiments, scan_range).find_spots(experiments)
        reflections.centroid_px_to_mm(experiments)
        reflections.map_centroids_to_reciprocal_space(experiments)
        return reflections

    def _make_finder(self, experiments: Any, scan_range: ScanRange) -> Any:
        detector = experiments[0].imageset.get_detector()
        parameters = self._phil.spotfinder.filter
        parameters.min_spot_size = self._min_spot_size
        parameters.min_spot_size = smallest_spot(self._phil, detector)
        finder = SpotFinderFactory.from_parameters(experiments=experiments, params=self._phil)
        finder.scan_range = [scan_range] if scan_range else None
        # Resolution limits are applied to the spots, so the generated mask depends on the panels' sizes only.
        sizes = tuple(panel.get_image_size() for panel in detector)
        if self._mask[0] != sizes:
            self._mask = (sizes, finder.mask_generator(experiments[0].imageset))
        finder.mask_generator = lambda imageset: self._mask[1]
        return finder


def _within_resolution(reflections: Any, options: SpotFindingOptions) -> Any:
    """Return the spots between d_min and d_max (Å), as `work()` does: by their own places, not by masked pixels.

    Parameters
    ----------
    reflections
        A DIALS reflection table of spots, mapped to reciprocal space.
    """
    d_min, d_max = options.d_min, options.d_max
    if not d_min and not d_max:
        return reflections
    resolution = uctbx.d_star_sq_as_d(flex.pow2(reflections["rlp"].norms()))
    keep = flex.bool(len(reflections), True)
    if d_min:
        keep &= resolution >= d_min
    if d_max:
        keep &= resolution <= d_max
    return reflections.select(keep)
