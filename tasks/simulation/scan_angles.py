"""At which angles the images of an NXmx master start: dxtbx takes them all to adjoin."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from tasks.nexus.axes import chain_of_axes
from tasks.nexus.errors import NotReady, UnusableMaster
from tasks.nexus.master import find_entry
from tasks.nexus.opening import faults_at
from tasks.nexus.tree import Found, MasterTree
from tasks.simulation.file_groups import UnusableImages

JITTER_DEG = 0.01  # of angles that were measured


def read_step(master: Path, images: int) -> float | None:
    """Return how far the crystal turns from the start of an image to that of the next one; None: it isn't said.

    Raises
    ------
    UnusableImages
        It isn't the same from each to the next: there is more than one scan in the master. Or a file is missing that
        says it.
    """
    scanned = _read_angles(master, images)
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


def _read_angles(master: Path, images: int) -> list[list[float]]:
    """Return the angles of each rotation that's said image by image."""
    try:
        with MasterTree(str(master)) as tree:
            rotations = {(axis.holder, axis.object.name): axis for axis in _rotations(tree)}
            return [angles for axis in rotations.values() if (angles := _angles_deg(axis, images)) is not None]
    except (NotReady, UnusableMaster) as error:
        raise UnusableImages(f"{master} doesn't say how its crystal turns: {error}") from error


def _rotations(tree: MasterTree) -> Iterator[Found]:
    """Yield the rotations that the sample depends on."""
    sample = tree.first_of(find_entry(tree), "NXsample")
    for beside, name in chain_of_axes(tree, sample, "depends_on"):
        axis = tree.get(name, beside)
        if axis is not None and not axis.is_group and axis.attribute("transformation_type") == "rotation":
            yield axis


def _angles_deg(axis: Found, images: int) -> list[float] | None:
    """Return where an axis stands at the start of each image; None where it isn't said image by image."""
    angles = axis.object
    if angles.ndim != 1 or len(angles) < max(images, 2) or images < 2:
        return None
    factor = math.degrees(1) if (axis.attribute("units") or "").startswith("rad") else 1.0
    with faults_at(axis.holder):
        return [float(angle) * factor for angle in angles[:images]]
