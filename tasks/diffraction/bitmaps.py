"""Previews: a diffraction image as a JPEG in shades of grey, dark spots on white, as `dials.export_bitmaps` shows it.

The scale is that of DIALS: the 90th percentile of the counts comes out at 0.4 × brightness of full black, and pixels
are binned by their maximum, so that a spot of one pixel is still seen in a small picture. Pillow makes the picture,
at a tenth of the cost.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from dxtbx import flumpy
from PIL import Image

from blocks.errors import PassingFault, PlazaError
from tasks.confinement import LeadsAway, write_confined
from tasks.diffraction.errors import ImageUnreadable
from tasks.diffraction.image_files.data_set import DataSet
from tasks.diffraction.image_files.data_sets import DataSets
from tasks.diffraction.image_files.explaining import explain_failure
from tasks.diffraction.requests import PreviewRequest, names_in_full
from tasks.regular_files import open_regular
from tasks.step import USUAL_RETRIES

THUMBNAIL_SIZE = 256  # pixels along the longer side, at most
SMALLEST_PREVIEW = 400  # pixels along the longer side
GAP_SHADE = 176
"""Pixels without a sensor or without trust (masked, saturated): a grey that no background has."""

_MASKED = -1


class PreviewUnwritable(PlazaError):
    """A preview can't be written where it belongs."""


def draw_preview(request: PreviewRequest, data_sets: DataSets) -> tuple[str, str]:
    """Write an image's preview and thumbnail; they have their names once they are complete.

    Returns
    -------
    tuple[str, str]
        The two files.

    Raises
    ------
    ImageUnreadable
        The file is missing or incomplete, or has no such image.
    PreviewUnwritable
        The folder can't be made or written to.
    PassingFault
        The file system is full, or doesn't answer.
    """
    with data_sets.using(request.file) as data_set:
        counts = read_counts(data_set, request.index)
    shown = request.shown_image
    output, thumbnail = _choose_names(request, shown)
    correction = correction_of(counts, request.brightness)
    for path, binning in (
        (output, preview_binning(max(counts.shape), request.binning)),
        (thumbnail, -(-max(counts.shape) // THUMBNAIL_SIZE)),
    ):
        picture = Image.fromarray(shade(bin_by_maximum(counts, binning), correction), mode="L")
        # In memory: the file is whole when it gets its name.
        buffer = io.BytesIO()
        picture.save(buffer, format="JPEG", quality=request.quality, comment=shown.encode(errors="surrogateescape"))
        try:
            write_confined(Path(path), buffer.getvalue(), tuple(map(Path, request.link_targets)))
        except LeadsAway as error:
            raise PreviewUnwritable(f"the preview can't be written: {error}; expected it within its visit") from error
        except OSError as error:
            if USUAL_RETRIES.may_pass(error):
                raise PassingFault(f"the preview {path} can't be written now: {error}") from error
            reason = f"the preview {path} can't be written: {error}; make {Path(path).parent} writable"
            raise PreviewUnwritable(reason) from error
    return output, thumbnail


def _choose_names(request: PreviewRequest, shown: str) -> tuple[str, str]:
    """Return where preview and thumbnail belong: under a longer name if other images' stand under the usual one.

    The usual one drops the file's extension (`a.cbf` and `a.img`, image 2 of `a.nxs` and `a_2.cbf` share one).
    """
    usual = request.output, request.thumbnail
    if not request.by_default or not any(_shows_another(path, shown) for path in usual):
        return usual
    longer = names_in_full(request)
    if any(_shows_another(path, shown) for path in longer):
        raise PreviewUnwritable(f"{usual[0]} and {longer[0]} are previews of other images: name this one by `output`")
    return longer


def _shows_another(path: str, shown: str) -> bool:
    """Tell whether a picture is there that says it shows another image; those of older versions don't say."""
    try:
        with open_regular(path) as file, Image.open(file) as picture:
            comment = picture.info.get("comment")
    except (OSError, Image.DecompressionBombError):  # there's none, or it can't be read: then it's written anew
        return False
    return bool(comment) and comment.decode(errors="surrogateescape") != shown


def preview_binning(longest_side: int, binning: int) -> int:
    """Return the binning of a preview: less than asked for where a small detector's picture would be a stamp.

    >>> preview_binning(2527, 4), preview_binning(619, 4)
    (4, 1)
    """
    while binning > 1 and longest_side // binning < SMALLEST_PREVIEW:
        binning //= 2
    return binning


def bin_by_maximum(counts: np.ndarray[Any, Any], binning: int) -> np.ndarray[Any, Any]:
    """Reduce blocks of `binning` × `binning` pixels to their highest; pixels that fill no block are left out.

    Parameters
    ----------
    counts
        (height, width).

    Returns
    -------
    ndarray
        (height // binning, width // binning), of the same type.
    """
    height, width = (size // binning for size in counts.shape)
    blocks = counts[: height * binning, : width * binning].reshape(height, binning, width, binning)
    largest: np.ndarray[Any, Any] = blocks.max(axis=3).max(axis=1)
    return largest


def shade(counts: np.ndarray[Any, Any], correction: float) -> np.ndarray[Any, Any]:
    """Turn counts into shades by DIALS's formula; masked pixels get their own.

    Parameters
    ----------
    counts
        (height, width), -1 where masked.
    correction
        What a count is multiplied by: 1 is black.

    Returns
    -------
    ndarray
        255 (white) to 0 (black), unsigned bytes, (height, width).
    """
    shades = np.clip(256.0 * (1.0 - counts * correction), 0, 255).astype(np.uint8)
    shades[counts <= _MASKED] = GAP_SHADE
    return shades


def correction_of(counts: np.ndarray[Any, Any], brightness: float) -> float:
    """Return what a count is multiplied by: 1 is black. As `global_bright_contrast` of iotbx/detectors/display.h.

    Parameters
    ----------
    counts
        (height, width), -1 where masked.
    brightness
        Percent.
    """
    flat = counts.ravel()
    nth = int(0.9 * flat.size)
    percentile = float(np.partition(flat, nth)[nth])
    # Where nine tenths of the pixels count nothing there is no percentile to go by: iotbx takes 0.2 then.
    return brightness / 100 * (0.4 / percentile if percentile > 0 else 0.2)


def read_counts(data_set: DataSet, index: int) -> np.ndarray[Any, Any]:
    """Return an image as it lies on the detector.

    Parameters
    ----------
    index
        The image's number in the data set, from 1.

    Returns
    -------
    ndarray
        Counts, (height, width) along the slow and the fast axis; -1 in pixels that aren't trusted.
    """
    imageset = data_set.imageset
    if data_set.is_single_image:
        index = 1
    data_set.require((index, index))
    if not 1 <= index <= len(imageset):
        raise ImageUnreadable(f"{data_set.file} has images 1 to {len(imageset)}; asked for was {index}")
    try:
        panels = imageset.get_raw_data(index - 1)
        masks = imageset.get_mask(index - 1)
    except PlazaError:
        raise
    except Exception as error:
        raise explain_failure(error, f"read image {index} of {data_set.file}", data_set.content) from error
    detector, usable = imageset.get_detector(), data_set.static_mask
    images = [
        _mask_counts(counts, mask, panel.get_trusted_range()[1], usable[number] if usable else None)
        for number, (counts, mask, panel) in enumerate(zip(panels, masks, detector, strict=True))
    ]
    return images[0] if len(images) == 1 else _lay_out(detector, images)


def _mask_counts(panel: Any, trusted: Any, saturation: float, usable: Any | None) -> np.ndarray[Any, Any]:
    """Return a panel's counts, those of pixels that say nothing as -1.

    Parameters
    ----------
    panel, trusted, usable
        shape (slow, fast): counts; whether a count is one; whether its pixel is (None: all are).
    saturation
        From this count on a pixel is saturated: where a detector counts no further, DIALS still trusts it.

    Returns
    -------
    ndarray
        The same shape.
    """
    counts = flumpy.to_numpy(panel)
    # Of a saturated pixel no more is known than of a masked one, and an overload isn't to be taken for a strong spot.
    shown = flumpy.to_numpy(trusted) & (counts < saturation)
    if usable is not None:
        shown &= flumpy.to_numpy(usable)
    return np.where(shown, counts, _MASKED)


def _lay_out(detector: Any, images: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Put panels where they lie in the detector's readout; one below the other where the format doesn't tell.

    Parameters
    ----------
    images
        The panels' counts, (slow, fast) each.

    Returns
    -------
    ndarray
        (height, width), -1 between the panels.
    """
    # DIALS gives (fast, slow); arrays have (slow, fast).
    offsets = [panel.get_raw_image_offset()[::-1] for panel in detector]
    if len(set(offsets)) < len(offsets):
        tops = np.cumsum([0, *(image.shape[0] for image in images)])
        offsets = [(int(top), 0) for top in tops[:-1]]
    placed = list(zip(offsets, images, strict=True))
    shape = tuple(max(corner[axis] + image.shape[axis] for corner, image in placed) for axis in (0, 1))
    whole = np.full(shape, _MASKED, dtype=images[0].dtype)
    for (top, left), image in placed:
        whole[top : top + image.shape[0], left : left + image.shape[1]] = image
    return whole
