"""Frames of a master as they are stored. Where they are, and whether they are there, says the reader of its frames."""

from __future__ import annotations

from typing import Any

import numpy as np

from tasks.diffraction.errors import ImageUnreadable
from tasks.diffraction.image_files.hdf5_frames import FrameReader
from tasks.diffraction.image_files.raw.chunks import read_frame
from tasks.diffraction.image_files.raw.frame import (
    NotRaw,
    RawFrame,
    TrustedRange,
    mask_top_values,
    trusted_as_stored,
)
from tasks.diffraction.image_files.raw.kept_arrays import KEPT


class RawMasterFrames:
    """Reads a master's frames.

    Parameters
    ----------
    reader
        That of the same frames for dxtbx.
    detector
        dxtbx's model.
    """

    def __init__(self, reader: FrameReader, detector: Any) -> None:
        self._reader = reader
        self._trusted = tuple(panel.get_trusted_range() for panel in detector)
        self._shapes = tuple(panel.get_image_size()[::-1] for panel in detector)

    def read(self, index: int) -> RawFrame:
        """Return frame `index` (from 0).

        Raises
        ------
        NotRaw
            Its counts are no integers.
        FrameMissing
            It has not been written.
        ImageUnreadable
            It's damaged, isn't one of this detector, or DIALS doesn't know such counts.
        """
        dataset, frame = self._reader.find(index)
        dtype = self._reader.type_of(index, dataset)
        if dtype.kind == "f":
            raise NotRaw(f"its counts are no integers, but of type {dtype}")
        with self._reader.faults_of(index, dataset):
            shape = dataset.shape if frame is None else dataset.shape[1:]
            counts = KEPT.array("frame", shape, dtype.newbyteorder("="))
            read_frame(dataset, frame, counts)
        counts, trusted = self._as_trusted(counts)
        panels = tuple(_panel(counts, part, number) for number, part in enumerate(self._reader.form.panels))
        self._check_shapes(index, panels)
        return RawFrame(panels, trusted)

    def _as_trusted(self, counts: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], tuple[TrustedRange, ...]]:
        """Return counts, and which are trusted: as they are stored, or where that can't be said, as dxtbx has them."""
        bit_depth = self._reader.form.bit_depth
        if counts.itemsize <= np.dtype(np.int32).itemsize:
            trusted = [trusted_as_stored(panel, counts.dtype, bit_depth) for panel in self._trusted]
            known = tuple(panel for panel in trusted if panel is not None)
            if len(known) == len(trusted):
                return counts, known
        as_int32 = KEPT.array("as 32-bit integers", counts.shape, np.int32)
        np.copyto(as_int32, counts, casting="unsafe")  # the lower half of 64 bits, as dxtbx takes it
        mask_top_values(as_int32, bit_depth)
        return as_int32, self._trusted

    def _check_shapes(self, index: int, panels: tuple[np.ndarray[Any, Any], ...]) -> None:
        seen = tuple(panel.shape for panel in panels)
        if seen != self._shapes:
            raise ImageUnreadable(
                f"image {index + 1} of {self._reader.master_path()} has panels of {seen} pixels (slow, fast); "
                f"its detector's have {self._shapes}"
            )


def _panel(counts: np.ndarray[Any, Any], part: tuple[slice, ...], number: int) -> np.ndarray[Any, Any]:
    """Return a panel's part of a frame; a copy where its lines don't follow one another."""
    panel = counts[part]
    if panel.flags.c_contiguous:
        return panel
    copy = KEPT.array(f"panel {number}", panel.shape, panel.dtype)
    np.copyto(copy, panel)
    return copy
