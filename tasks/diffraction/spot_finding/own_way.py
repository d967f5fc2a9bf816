"""Plaza's own way to an image's statistics, with the numbers of DIALS.

One frame of raw counts, one mask, a threshold that is kept; from the strong pixels on DIALS's own functions. What this
isn't proven for is left to DIALS.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dials.algorithms.spot_finding.factory import SpotFinderFactory

from tasks.diffraction.image_files.data_set import DataSet
from tasks.diffraction.image_files.raw.frame import NotRaw, RawFrame
from tasks.diffraction.kernel import DispersionParameters, Threshold
from tasks.diffraction.kernel.threshold import KERNEL_SIZE
from tasks.diffraction.requests import ImageStatistics, SpotFindingOptions
from tasks.diffraction.spot_finding.images import Frame, ScanRange, find_frame
from tasks.diffraction.spot_finding.left_to_dials import LeftToDials
from tasks.diffraction.spot_finding.options import read_phil, smallest_spot
from tasks.diffraction.spot_finding.spots import label_pixels, make_spots
from tasks.diffraction.spot_finding.statistics.columns import SpotColumns
from tasks.diffraction.spot_finding.statistics.ice_rings import IceRings
from tasks.diffraction.spot_finding.statistics.image_statistics import summarise
from tasks.diffraction.spot_finding.thresholds import Thresholds

_IS_EXTENDED = {"dispersion": False, "dispersion_extended": True}


class OwnWay:
    """Analyses images, all with the same options; for one thread."""

    def __init__(self, options: SpotFindingOptions) -> None:
        self._options = options
        self._phil = read_phil(options)
        self._filters = SpotFinderFactory.configure_filter(self._phil)
        self._ice_rings = IceRings(options.ice_rings_width) if options.filter_ice else None
        self._thresholds: Thresholds | None = None
        self._why_never = _why_never(options, self._phil)
        if self._why_never is None:
            parameters = _dispersion_parameters(self._phil, _IS_EXTENDED[options.threshold_algorithm])
            self._thresholds = Thresholds(parameters, self._phil.spotfinder.filter)

    def describe(self, data_set: DataSet, experiments: Any, scan_range: ScanRange) -> ImageStatistics:
        """Find the spots of an image, and say what they say.

        Raises
        ------
        LeftToDials
            This isn't proven for the image; nothing is said of it.
        ImageUnreadable
            It's missing or can't be read.
        """
        if self._thresholds is None:
            raise LeftToDials(str(self._why_never))
        frame = find_frame(experiments, scan_range)
        try:
            raw = data_set.read_raw(frame.index)
        except NotRaw as error:
            raise LeftToDials(str(error)) from error
        columns = SpotColumns.of(self._find_spots(frame, raw, self._thresholds.of(frame.imageset, raw.trusted)))
        return summarise(columns.within(self._options.d_min, self._options.d_max), self._ice_rings)

    def _find_spots(self, frame: Frame, raw: RawFrame, thresholds: Sequence[Threshold]) -> Any:
        """Return a DIALS reflection table."""
        limits = self._phil.spotfinder.filter
        labellers, strong = [], 0
        for counts, threshold in zip(raw.panels, thresholds, strict=True):
            found = threshold.find(counts)
            if found is None:
                raise LeftToDials(threshold.declined)
            labellers.append(label_pixels(frame.number, counts, found))
            strong += len(found)
        if strong > math.ceil(limits.max_strong_pixel_fraction * sum(counts.size for counts in raw.panels)):
            raise LeftToDials("too many strong pixels")
        smallest = smallest_spot(self._phil, frame.imageset.get_detector())
        return make_spots(frame, labellers, self._filters, smallest, limits.max_spot_size)


def _why_never(options: SpotFindingOptions, phil: Any) -> str | None:
    """Say why DIALS does all images with these options; None: it doesn't. Another DIALS may have other defaults."""
    if options.threshold_algorithm not in _IS_EXTENDED:
        return f"the {options.threshold_algorithm} threshold"
    spotfinder, dispersion = phil.spotfinder, phil.spotfinder.threshold.dispersion
    is_known = {
        "kernel_size": tuple(dispersion.kernel_size) == KERNEL_SIZE,
        "gain": dispersion.gain is None,
        "global_threshold": isinstance(dispersion.global_threshold, int | float),  # not Auto
        "lookup.mask": spotfinder.lookup.mask is None,
        "region_of_interest": spotfinder.region_of_interest is None,
    }
    unknown = [name for name, known in is_known.items() if not known]
    return f"this DIALS's default of {unknown[0]}" if unknown else None


def _dispersion_parameters(phil: Any, extended: bool) -> DispersionParameters:
    dispersion = phil.spotfinder.threshold.dispersion
    return DispersionParameters(
        extended=extended,
        sigma_background=dispersion.sigma_background,
        sigma_strong=dispersion.sigma_strong,
        global_threshold=dispersion.global_threshold,
        min_count=dispersion.min_local,
    )
