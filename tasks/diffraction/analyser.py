"""Per-image analysis with DIALS: spots of one image, and what they say of it.

The numbers are those of `dials.command_line.find_spots_server.work()`: the same functions of DIALS are called in the
same order. What `work()` makes anew for every image (phil, models, the generated mask) is made once, which makes small
detectors' images 1.5 to 3 times as many a second (docs/decisions/0005).
"""

from __future__ import annotations

from typing import Any

import libtbx
from cctbx import uctbx
from dials.algorithms.spot_finding import per_image_analysis
from dials.algorithms.spot_finding.factory import SpotFinderFactory
from dials.array_family import flex
from dials.command_line.find_spots import phil_scope

from blocks.errors import PlazaError
from tasks.diffraction.errors import ImageUnreadable
from tasks.diffraction.image_files.data_set import DataSet
from tasks.diffraction.image_files.data_sets import DataSets
from tasks.diffraction.image_files.explaining import explain_failure
from tasks.diffraction.requests import ImageAnalysis, ImageRequest, ImageStatistics, SpotFindingOptions


class Analyser:
    """Analyses images, all with the same options.

    Parameters
    ----------
    options
        How spots are found.
    data_sets
        Where models are kept; analysers of one process share it.
    """

    def __init__(self, options: SpotFindingOptions, data_sets: DataSets | None = None) -> None:
        self.options = options
        self._data_sets = data_sets or DataSets()
        self._phil = _read_phil(options)
        self._min_spot_size = self._phil.spotfinder.filter.min_spot_size
        self._mask: tuple[Any, Any] = (None, None)

    def analyse(self, file: str, scan_range: tuple[int, int] | None = None) -> ImageStatistics:
        """Find the spots of images `scan_range` (1-based, both ends included) of a file; of the whole file if None.

        Raises
        ------
        ImageUnreadable
            The file is missing or incomplete, or has no such image.
        """
        return self.examine(ImageRequest(file, self.options, scan_range)).statistics

    def examine(self, request: ImageRequest) -> ImageAnalysis:
        """Do as `analyse` does, and say how.

        Raises
        ------
        ImageUnreadable
            The file is missing or incomplete, or has no such image.
        """
        file, scan_range = request.file, request.scan_range
        content = None
        try:
            with self._data_sets.using(file) as data_set:
                content = data_set.content
                return ImageAnalysis(self._statistics(data_set, scan_range), by_dials="Plaza has no other way yet")
        except PlazaError:
            raise
        except Exception as error:  # DIALS raises whatever its many parts do: RuntimeError, IndexError, Sorry
            where = file if scan_range is None else f"images {scan_range[0]} to {scan_range[1]} of {file}"
            raise explain_failure(error, f"analyse {where}", content) from error

    def _statistics(self, data_set: DataSet, scan_range: tuple[int, int] | None) -> ImageStatistics:
        reflections = self.find_reflections(data_set, scan_range)
        statistics = per_image_analysis.stats_for_reflection_table(
            self._within_resolution(reflections),
            filter_ice=self.options.filter_ice,
            ice_rings_width=self.options.ice_rings_width,
        )
        return ImageStatistics(**statistics._asdict())

    def find_reflections(self, data_set: DataSet, scan_range: tuple[int, int] | None) -> Any:
        """Return all spots of some images as DIALS's reflection table, with their places in reciprocal space."""
        experiments = _select(data_set, scan_range)
        data_set.require(scan_range)
        reflections = self._make_finder(experiments, scan_range).find_spots(experiments)
        reflections.centroid_px_to_mm(experiments)
        reflections.map_centroids_to_reciprocal_space(experiments)
        return reflections

    def _make_finder(self, experiments: Any, scan_range: tuple[int, int] | None) -> Any:
        detector = experiments[0].imageset.get_detector()
        if self._min_spot_size is libtbx.Auto:  # as flex.reflection_table.from_observations decides
            self._phil.spotfinder.filter.min_spot_size = 3 if detector[0].get_type() == "SENSOR_PAD" else 6
        finder = SpotFinderFactory.from_parameters(experiments=experiments, params=self._phil)
        finder.scan_range = [scan_range] if scan_range else None
        # Resolution limits are applied to the spots, so the generated mask depends on the panels' sizes only.
        sizes = tuple(panel.get_image_size() for panel in detector)
        if self._mask[0] != sizes:
            self._mask = (sizes, finder.mask_generator(experiments[0].imageset))
        finder.mask_generator = lambda imageset: self._mask[1]
        return finder

    def _within_resolution(self, reflections: Any) -> Any:
        """Return the spots between d_min and d_max (Å), as `work()` does: by their own places, not by masked pixels."""
        d_min, d_max = self.options.d_min, self.options.d_max
        if not d_min and not d_max:
            return reflections
        resolution = uctbx.d_star_sq_as_d(flex.pow2(reflections["rlp"].norms()))
        keep = flex.bool(len(reflections), True)
        if d_min:
            keep &= resolution >= d_min
        if d_max:
            keep &= resolution <= d_max
        return reflections.select(keep)


def _read_phil(options: SpotFindingOptions) -> Any:
    """Return DIALS's spot finding parameters, without resolution limits: as `work()` does, spots are chosen by them."""
    arguments = [
        f"spotfinder.threshold.algorithm={options.threshold_algorithm}",
        f"spotfinder.filter.disable_parallax_correction={options.disable_parallax_correction}",
        "spotfinder.write_hot_mask=False",  # else a file is written for each image
    ]
    # Not phil_scope.extract(): the template of `untrusted` then counts as an area, masks all of panel 0, and no spot is
    # found, without an error.
    interpreter = phil_scope.command_line_argument_interpreter()
    scope, unknown = interpreter.process_and_fetch(arguments, custom_processor="collect_remaining")
    assert not unknown, f"DIALS doesn't know {unknown}"
    return scope.extract()


def _select(data_set: DataSet, scan_range: tuple[int, int] | None) -> Any:
    """Return the experiments of some images: each still has its own, a rotation sweep has one."""
    experiments = data_set.experiments
    if scan_range is None:
        return experiments
    first, last = scan_range
    if len(experiments) == 1:
        return experiments
    if not 1 <= first <= last <= len(experiments):
        raise ImageUnreadable(f"{data_set.file} has images 1 to {len(experiments)}, asked for were {first} to {last}")
    return experiments[first - 1 : last]
