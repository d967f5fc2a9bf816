"""Per-image analysis: spots of one image, and what they say of it.

The numbers are those of `dials.command_line.find_spots_server.work()`, to the last bit. Plaza's own way finds them at
a fraction of the cost where it's proven to; DIALS does all else, and judges (docs/decisions/0026).
"""

from __future__ import annotations

import logging
from dataclasses import astuple
from typing import Any, Final

from blocks.errors import PassingFault, PlazaError
from tasks.diffraction.image_files.data_set import DataSet
from tasks.diffraction.image_files.data_sets import DataSets
from tasks.diffraction.image_files.explaining import explain_failure
from tasks.diffraction.requests import ImageAnalysis, ImageRequest, ImageStatistics, SpotFindingOptions
from tasks.diffraction.spot_finding.dials_way import DialsWay
from tasks.diffraction.spot_finding.images import select_experiments
from tasks.diffraction.spot_finding.left_to_dials import LeftToDials
from tasks.diffraction.spot_finding.own_way import OwnWay

logger = logging.getLogger(__name__)

REFUSED: Final = ImageStatistics(
    d_min_distl_method_1=-1.0,
    d_min_distl_method_2=-1.0,
    estimated_d_min=-1.0,
    n_spots_4A=-1,
    n_spots_no_ice=-1,
    n_spots_total=-1,
    noisiness_method_1=-1.0,
    noisiness_method_2=-1.0,
    total_intensity=-1.0,
)
"""In the place of what Plaza's own way says of an image that it wrongly refuses. No image has less than no spots."""


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
        self._dials_way = DialsWay(options)
        self._own_way = OwnWay(options)
        self._faults: set[str] = set()

    def analyse(self, file: str, scan_range: tuple[int, int] | None = None) -> ImageStatistics:
        """Find the spots of images `scan_range` (1-based, both ends included) of a file; of the whole file if None.

        Raises
        ------
        ImageUnreadable
            The file is missing or incomplete, or has no such image.
        """
        return self.examine(ImageRequest(file, self.options, scan_range)).statistics

    def examine(self, request: ImageRequest) -> ImageAnalysis:
        """Do as `analyse` does, in the way that is asked for, and say how.

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
                return self._choose(request, data_set)
        except PlazaError:
            raise
        except Exception as error:  # DIALS raises whatever its many parts do: RuntimeError, IndexError, Sorry
            where = file if scan_range is None else f"images {scan_range[0]} to {scan_range[1]} of {file}"
            raise explain_failure(error, f"analyse {where}", content) from error

    def _choose(self, request: ImageRequest, data_set: DataSet) -> ImageAnalysis:
        experiments = select_experiments(data_set, request.scan_range)
        data_set.require(request.scan_range)
        own, by_dials = None, request.by_dials
        if by_dials is None:
            try:
                own, by_dials = self._try_own_way(request, data_set, experiments)
            except PlazaError as refusal:
                if not request.check or isinstance(refusal, PassingFault):  # that is, not yet
                    raise
                return self._judge(refusal, request, data_set, experiments)
        if own is not None and not request.check:
            return ImageAnalysis(own)
        return _compare(own, self._dials_way.describe(experiments, request.scan_range), by_dials)

    def _judge(self, refusal: PlazaError, request: ImageRequest, data_set: DataSet, experiments: Any) -> ImageAnalysis:
        """Have DIALS do an image that Plaza's own way refuses; if DIALS can't do it either, the refusal was right."""
        try:
            statistics = self._dials_way.describe(experiments, request.scan_range)
        except Exception:  # DIALS raises whatever its many parts do
            raise refusal from None
        try:  # once more: it may have been written only just now
            own, by_dials = self._try_own_way(request, data_set, experiments)
        except PlazaError as error:
            logger.warning("Plaza's own way refuses what DIALS analyses: %s", error)
            own, by_dials = REFUSED, None
        return _compare(own, statistics, by_dials)

    def _try_own_way(
        self, request: ImageRequest, data_set: DataSet, experiments: Any
    ) -> tuple[ImageStatistics | None, str | None]:
        """Return the statistics of Plaza's own way, or why DIALS is to do the image."""
        try:
            return self._own_way.describe(data_set, experiments, request.scan_range), None
        except LeftToDials as left:
            return None, left.reason
        except PlazaError:
            raise
        except Exception as error:  # whatever it is, the image isn't to suffer by it
            reason = f"Plaza's own way failed: {type(error).__name__}"
            if reason not in self._faults:
                self._faults.add(reason)
                logger.exception("Plaza's own way failed at %s: DIALS does it; this is said once", request.image)
            return None, reason


def _compare(own: ImageStatistics | None, dials: ImageStatistics, by_dials: str | None) -> ImageAnalysis:
    """Return DIALS's statistics of an image, corrected if Plaza's own way had said otherwise."""
    if own is None or are_the_same(own, dials):
        return ImageAnalysis(dials, by_dials)
    return ImageAnalysis(dials, corrected=own)


def are_the_same(one: ImageStatistics, other: ImageStatistics) -> bool:
    """Tell whether two images' statistics are equal to the last bit; what is no number in both is the same."""
    pairs = zip(astuple(one), astuple(other), strict=True)
    return all(mine == theirs or (mine != mine and theirs != theirs) for mine, theirs in pairs)
