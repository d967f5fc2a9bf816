"""At which angles the images of a series of CBF files start."""

from __future__ import annotations

import bz2
import gzip
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, Final
from zlib import error as ZlibError  # noqa: N812 - as the exception that it is

from tasks.simulation.file_groups import UnusableImages
from tasks.simulation.scan_angles import JITTER_DEG

HEADER_BYTES: Final = 4096  # in which a miniCBF header's lines are, before the image
_OPEN: Final[Mapping[str, Callable[..., IO[Any]]]] = {".gz": gzip.open, ".bz2": bz2.open}
_ANGLE: Final = re.compile(r"^#\s*(Start_angle|Angle_increment)[\s:=]+([-+\d.eE]+)", re.MULTILINE)


def read_header(file: Path) -> str:
    """Return the text that a CBF file begins with; only the first bytes are read, which is a millisecond's work.

    Raises
    ------
    UnusableImages
        It can't be read.
    """
    try:
        with _OPEN.get(file.suffix, open)(file, "rb") as opened:
            return str(opened.read(HEADER_BYTES).decode("latin-1"))
    except (OSError, EOFError, ZlibError) as error:
        raise UnusableImages(f"{file} can't be read ({error}); is it complete?") from error


def check_headers(files: Sequence[Path]) -> None:
    """Make sure that all of a series' headers tell one scan; those without angles tell none.

    Raises
    ------
    UnusableImages
        The images don't follow each other at one distance, differ in width, or some of them don't say their angles.
    """
    told = [_read_angles(read_header(file)) for file in files]
    if not any(told):  # a full CBF has tables in place of these lines
        return
    for file, angles in zip(files, told, strict=True):
        if angles.keys() != told[0].keys():
            raise UnusableImages(
                f"{file} has other lines in its header than {files[0].name}: expected images of one scan"
            )
    if "Angle_increment" in told[0]:
        _check_widths(files, [angles["Angle_increment"] for angles in told])
    if "Start_angle" in told[0]:
        mean_step(files, enumerate(angles["Start_angle"] for angles in told))


def _read_angles(header: str) -> dict[str, float]:
    try:
        return {name: float(angle) for name, angle in _ANGLE.findall(header)}
    except ValueError:
        return {}


def _check_widths(files: Sequence[Path], widths_deg: Sequence[float]) -> None:
    for file, width in zip(files, widths_deg, strict=True):
        if abs(width - widths_deg[0]) > JITTER_DEG / 10:
            raise UnusableImages(
                f"{file} is {width:g}° wide, {files[0].name} {widths_deg[0]:g}°: expected images of one scan"
            )


def mean_step(files: Sequence[Path], starts_deg: Iterable[tuple[int, float]]) -> float | None:
    """Return how far the crystal turns from the start of an image to that of the next one; None: it's a single one.

    Parameters
    ----------
    files
        The series' files, in order.
    starts_deg
        Places of files in the series, from 0 and in order, and where they start; the first two are neighbours.

    Raises
    ------
    UnusableImages
        It isn't the same from each to the next: there is more than one scan in the series.
    """
    starts = list(starts_deg)
    if len(starts) < 2:
        return None
    step = _turn(starts[1][1] - starts[0][1])
    off_deg = 0.0
    for (before, start), (after, end) in pairwise(starts):
        images = after - before
        off = _turn(end - start - step * images)
        if abs(off) > max(JITTER_DEG, abs(step) / 10) * images:
            raise UnusableImages(
                f"there is more than one scan in the files like {files[0]}: {files[after].name} starts at {end:g}°, "
                f"expected {end - off:g}° by the first two, {step:g}° after each other; give each scan names of its own"
            )
        off_deg += off
    return step + off_deg / starts[-1][0]


def _turn(angle_deg: float) -> float:
    """Return an angle from -180° up to 180°: 359.9° and 0° are neighbours."""
    return (angle_deg + 180) % 360 - 180
