"""At which angles the images of an NXmx master start: dxtbx takes them all to adjoin."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.nexus.opening import open_file
from tasks.simulation.file_groups import UnusableImages

if TYPE_CHECKING:
    import h5py

LONGEST_CHAIN = 32  # axes on which axes depend
JITTER_DEG = 0.01  # of angles that were measured


def read_step(master: Path, images: int) -> float | None:
    """Return how far the crystal turns from the start of an image to that of the next one; None: it isn't said.

    Raises
    ------
    UnusableImages
        It isn't the same from each to the next: there is more than one scan in the master.
    """
    with open_file(str(master)) as file:
        scanned = [angles for axis in _rotations(file) if (angles := _angles_deg(axis, images)) is not None]
    turning = [angles for angles in scanned if max(angles) - min(angles) > JITTER_DEG]
    if len(turning) > 1:
        raise UnusableImages(f"{master} turns the crystal about {len(turning)} axes at once; expected one")
    if not turning:
        return 0.0 if scanned else None
    (angles,) = turning
    step = angles[1] - angles[0]
    for number, (before, after) in enumerate(pairwise(angles), start=2):
        if abs(after - before - step) > max(JITTER_DEG, abs(step) / 10):
            raise UnusableImages(
                f"{master} has more than one scan in it: image {number} starts at {after:g}°, {after - before:g}° "
                f"after the one before, the second one {step:g}° after the first; expected one scan in a master"
            )
    return (angles[-1] - angles[0]) / (len(angles) - 1)


def _rotations(file: h5py.File) -> list[Any]:
    """Return the rotations that the sample depends on."""
    rotations: list[Any] = []
    holder, path = "/entry/sample", _text(file.get("/entry/sample/depends_on"))
    for _ in range(LONGEST_CHAIN):
        if not path or path == ".":
            break
        axis = file.get(path if path.startswith("/") else f"{holder}/{path}")
        if axis is None:
            break
        if _text(axis.attrs.get("transformation_type")) == "rotation":
            rotations.append(axis)
        holder, path = axis.parent.name, _text(axis.attrs.get("depends_on"))
    return rotations


def _angles_deg(axis: Any, images: int) -> list[float] | None:
    """Return where an axis stands at the start of each image; None where it isn't said image by image."""
    if axis.ndim != 1 or len(axis) < max(images, 2) or images < 2:
        return None
    factor = math.degrees(1) if _text(axis.attrs.get("units")).startswith("rad") else 1.0
    return [float(angle) * factor for angle in axis[:images]]


def _text(value: Any) -> str:
    """Return a text as it stands in a dataset or an attribute: as such, in bytes, or in an array of one."""
    import h5py
    import numpy as np

    if isinstance(value, h5py.Dataset):
        value = value[()]
    if isinstance(value, np.ndarray):
        value = value.flat[0] if value.size == 1 else None
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
