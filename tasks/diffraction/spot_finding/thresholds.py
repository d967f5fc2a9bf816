"""The thresholds of detectors' panels, kept from image to image by what they are made of.

Images whose models, mask, sizes or trusted range differ never have the thresholds of others: those of a master are
known again by their imageset (a master is opened anew once its files have changed), a single image, which is opened
anew each time, by all that its usable pixels are made of.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.diffraction.image_files.raw.frame import TrustedRange
from tasks.diffraction.kernel import DispersionParameters, Threshold, make_threshold
from tasks.diffraction.spot_finding.usable_pixels import (
    Mask,
    PanelKind,
    external_masks,
    panel_kinds,
    require_plain_counts,
    usable_pixels,
)

_KEPT = 2
"""Detectors at a time, the last used: a threshold has arrays as large as its panel."""


@dataclass
class _Kept:
    imageset: weakref.ref[Any]
    trusted: tuple[TrustedRange, ...]
    panels: tuple[PanelKind, ...]
    external: tuple[Mask, ...]
    thresholds: tuple[Threshold, ...]


class Thresholds:
    """Makes and keeps thresholds.

    Parameters
    ----------
    parameters
        Of the threshold.
    filter_parameters
        DIALS's `spotfinder.filter`, by which masks are generated.
    """

    def __init__(self, parameters: DispersionParameters, filter_parameters: Any) -> None:
        self._parameters = parameters
        self._filter_parameters = filter_parameters
        self._kept: list[_Kept] = []

    def of(self, imageset: Any, trusted: tuple[TrustedRange, ...]) -> Sequence[Threshold]:
        """Return the threshold of each panel of an imageset's images.

        Parameters
        ----------
        trusted
            The range of counts of each panel, as dxtbx applies it.

        Raises
        ------
        LeftToDials
            DIALS changes the counts first, or masks each image another way.
        """
        for kept in self._kept:
            if kept.imageset() is imageset and kept.trusted == trusted:
                return self._use(kept)
        require_plain_counts(imageset)
        panels, external = panel_kinds(imageset.get_detector()), external_masks(imageset)
        for kept in self._kept:
            if kept.trusted == trusted and kept.panels == panels and _are_equal(kept.external, external):
                kept.imageset = weakref.ref(imageset)
                return self._use(kept)
        usable = usable_pixels(imageset, self._filter_parameters)
        thresholds = tuple(
            make_threshold(pixels, counts, self._parameters) for pixels, counts in zip(usable, trusted, strict=True)
        )
        return self._use(_Kept(weakref.ref(imageset), trusted, panels, external, thresholds))

    def _use(self, kept: _Kept) -> Sequence[Threshold]:
        self._kept = [kept, *(other for other in self._kept if other is not kept)][:_KEPT]
        return kept.thresholds


def _are_equal(masks: tuple[Mask, ...], others: tuple[Mask, ...]) -> bool:
    return len(masks) == len(others) and all(map(np.array_equal, masks, others))
