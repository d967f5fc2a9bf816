"""Which pixels of a detector may be used in all images alike, and for how many data sets that is kept.

DIALS makes this mask anew for every image, of: the detector's untrusted rectangles, the mask that comes with the file
(of a master, for example), the mask that its options generate. Last it leaves out what is beyond the trusted range,
which depends on the counts: that is the threshold's part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from dials.util.masking import generate_mask
from dxtbx import flumpy

from tasks.diffraction.spot_finding.left_to_dials import LeftToDials

Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class PanelKind:
    """What the usable pixels of a panel are made of, besides the mask that comes with the file.

    Parameters
    ----------
    size
        Pixels along the fast and the slow axis.
    untrusted
        Rectangles of pixels that aren't used: fast and slow begin, fast and slow end (excluded).
    """

    size: tuple[int, int]
    untrusted: tuple[tuple[int, ...], ...]


def panel_kinds(detector: Any) -> tuple[PanelKind, ...]:
    """Return the panels of a dxtbx detector by what their usable pixels are made of."""
    return tuple(PanelKind(tuple(panel.get_image_size()), tuple(map(tuple, panel.get_mask()))) for panel in detector)


def external_masks(imageset: Any) -> tuple[Mask, ...]:
    """Return the mask that comes with the file, (slow, fast) for each panel; none: all may be used."""
    data = imageset.external_lookup.mask.data
    if data.empty():
        return ()
    return tuple(flumpy.to_numpy(data.tile(panel).data()) for panel in range(data.n_tiles()))


def require_plain_counts(imageset: Any) -> None:
    """Make sure that DIALS takes an imageset's counts as they are, and masks all of its images alike.

    Raises
    ------
    LeftToDials
        There's a gain, a pedestal or a shadow that moves.
    """
    lookup = imageset.external_lookup
    if not lookup.gain.data.empty():
        raise LeftToDials("a map of gains")
    if not lookup.pedestal.data.empty():
        raise LeftToDials("a map of pedestals")
    if imageset.has_dynamic_mask():
        raise LeftToDials("the goniometer's shadow")
    for number, panel in enumerate(imageset.get_detector()):
        # Not within DIALS's 1e-7: what is left to DIALS is right, however little it matters.
        if panel.get_gain() != 1:
            raise LeftToDials(f"gain {panel.get_gain()} of panel {number}")
        if panel.get_pedestal() != 0:
            raise LeftToDials(f"pedestal {panel.get_pedestal()} of panel {number}")


def usable_pixels(imageset: Any, filter_parameters: Any) -> tuple[Mask, ...]:
    """Return the pixels that may be used in all images, as `ImageSet.get_static_mask` and `SpotFinder` make it.

    Parameters
    ----------
    filter_parameters
        DIALS's `spotfinder.filter`, by which masks are generated.

    Returns
    -------
    tuple[ndarray, ...]
        For each panel, (slow, fast), C-contiguous.
    """
    generated = generate_mask(imageset, filter_parameters)
    external = external_masks(imageset)
    masks = []
    for number, panel in enumerate(imageset.get_detector()):
        usable = flumpy.to_numpy(panel.get_untrusted_rectangle_mask()) & flumpy.to_numpy(generated[number])
        if external:
            usable &= external[number]
        masks.append(np.ascontiguousarray(usable))
    return tuple(masks)
