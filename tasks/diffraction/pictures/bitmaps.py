"""Previews: a diffraction image as a JPEG in shades of grey, dark spots on white, as `dials.export_bitmaps` shows it.

The scale is that of DIALS: the 90th percentile of the counts comes out at 0.4 × brightness of full black, and pixels
are binned by their maximum, so that a spot of one pixel is still seen in a small picture. Pillow makes the picture,
at a tenth of the cost.
"""

from __future__ import annotations

import io
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from blocks.errors import PassingFault, PlazaError
from tasks.confinement import LeadsAway, write_confined
from tasks.diffraction.image_files.data_sets import DataSets
from tasks.diffraction.pictures.preview_counts import MASKED, read_counts
from tasks.diffraction.requests import PreviewRequest, names_in_full
from tasks.regular_files import open_regular
from tasks.step import USUAL_RETRIES

THUMBNAIL_SIZE = 256  # pixels along the longer side, at most
SMALLEST_PREVIEW = 400  # pixels along the longer side
GAP_SHADE = 176
"""Pixels without a sensor or without trust (masked, saturated): a grey that no background has."""

_SAMPLED = 4096  # values, of which one is guessed


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
    # Whole lines first: they lie one behind the other in memory
    lines = counts[: height * binning].reshape(height, binning, counts.shape[1]).max(axis=1)
    end = width * binning
    largest: np.ndarray[Any, Any] = lines[:, 0:end:binning].copy()
    for column in range(1, binning):
        np.maximum(largest, lines[:, column:end:binning], out=largest)
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
    if not np.issubdtype(counts.dtype, np.integer):
        return _apply_formula(counts, correction)
    # All counts from `black` on are black, so that there are few shades to compute
    black = min(ceil(1 / correction) + 1, int(counts.max(initial=0)))
    table = _apply_formula(np.arange(MASKED, black + 1), correction)
    shades: np.ndarray[Any, Any] = table[np.clip(counts, MASKED, black) - MASKED]
    return shades


def _apply_formula(counts: np.ndarray[Any, Any], correction: float) -> np.ndarray[Any, Any]:
    shades = np.clip(256.0 * (1.0 - counts * correction), 0, 255).astype(np.uint8)
    shades[counts <= MASKED] = GAP_SHADE
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
    percentile = float(_nth_smallest(counts.ravel(), int(0.9 * counts.size)))
    # Where nine tenths of the pixels count nothing there is no percentile to go by: iotbx takes 0.2 then.
    return brightness / 100 * (0.4 / percentile if percentile > 0 else 0.2)


def _nth_smallest(values: np.ndarray[Any, Any], nth: int) -> Any:
    """Return what `np.partition(values, nth)[nth]` is, at a tenth of its cost where there are few values: counts.

    Parameters
    ----------
    values
        Of one dimension.
    """
    if values.size < _SAMPLED or not np.issubdtype(values.dtype, np.integer):
        return np.partition(values, nth)[nth]
    sample = np.sort(values[:: values.size // _SAMPLED])
    low = int(sample[nth * sample.size // values.size])
    # The highest value of which no more than nth are below it: in ever longer steps away from a guess, then between.
    step = 1
    while np.count_nonzero(values < low) > nth:
        low, step = low - step, 2 * step
    high, step = low + 1, 1
    while np.count_nonzero(values < high) <= nth:
        low, high, step = high, high + step, 2 * step
    while high - low > 1:
        middle = (low + high) // 2
        if np.count_nonzero(values < middle) <= nth:
            low = middle
        else:
            high = middle
    return low
