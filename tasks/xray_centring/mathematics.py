"""Where the crystal is in a grid scan: the mathematics of X-ray centring in two dimensions.

The algorithm is that of Diamond's beamlines (Zocalo's X-ray centring): the largest connected region of boxes with at
least half of the strongest image's spots, and its unweighted centroid. Boxes count from 0 at the grid's corner; a box's
own centre is at + 0.5.
"""

import re
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

HALF_MAXIMUM = 0.5  # of the strongest image: where the beam meets enough of the crystal
CORNERS_TOUCH = np.ones((3, 3), dtype=int)  # 8-connectivity

# ISPyB's loop type of a pin with several crystals: wells x their distance + where the first one's centre is, in µm
_MULTIPIN = re.compile(r"multipin_(?P<wells>\d{1,3})x(?P<width>\d+(?:\.\d+)?)\+(?P<offset>\d+(?:\.\d+)?)")


class Orientation(Enum):
    """Along which axis a scan's lines run."""

    HORIZONTAL = "horizontal"
    VERTICAL = "vertical"


@dataclass(frozen=True, slots=True)
class Grid:
    """A grid scan's geometry.

    Parameters
    ----------
    steps
        Boxes in x and y.
    box_size_px
        A box's size in pixels of the snapshot, x and y.
    snapshot_offset
        The grid's corner in the snapshot, pixels.
    snaked
        Every other line is scanned backwards.
    """

    steps: tuple[int, int]
    box_size_px: tuple[float, float]
    snapshot_offset: tuple[float, float]
    snaked: bool
    orientation: Orientation


@dataclass(frozen=True, slots=True)
class CentringResult:
    """What is told of a grid; the names are those that GDA and ISPyB know. x comes before y, but in best_region.

    Parameters
    ----------
    steps, box_size_px, snapshot_offset
        Those of the grid, x and y.
    centre_x, centre_y
        The crystal's centre in pixels of the snapshot.
    centre_x_box, centre_y_box, centre_of_mass
        The same in boxes.
    max_voxel, max_count
        The strongest box of the region, (column, row), and the most spots of any box.
    n_voxels, total_count
        Boxes of the region, and their spots.
    status
        `ok` or `fail`.
    best_image
        Number of the strongest image in the order of collection, from 1.
    best_region
        (row, column) of the region's boxes.
    """

    steps: tuple[int, int]
    box_size_px: tuple[float, float]
    snapshot_offset: tuple[float, float]
    status: str = "fail"
    message: str = "No good images found"
    centre_x: float | None = None
    centre_y: float | None = None
    centre_x_box: float | None = None
    centre_y_box: float | None = None
    centre_of_mass: tuple[float, float] | None = None
    max_voxel: tuple[int, int] | None = None
    max_count: int | None = None
    n_voxels: int | None = None
    total_count: int | None = None
    best_image: int | None = None
    reflections_in_best_image: int | None = None
    best_region: list[tuple[int, int]] | None = None
    sample_id: int | None = None


def arrange_grid(counts: NDArray[np.int64], grid: Grid) -> NDArray[np.int64]:
    """Arrange values from the order of collection as they lie in the grid, in a new array.

    Parameters
    ----------
    counts
        A value an image in the order of collection, (steps_x * steps_y,).

    Returns
    -------
    NDArray
        The same as (steps_y, steps_x): row 0 and column 0 are at the grid's corner.
    """
    steps_x, steps_y = grid.steps
    is_horizontal = grid.orientation is Orientation.HORIZONTAL
    lines = counts.reshape((steps_y, steps_x) if is_horizontal else (steps_x, steps_y)).copy()
    if grid.snaked:
        # A snaked scan always starts in the positive direction. Copied: source and target overlap.
        lines[1::2] = lines[1::2, ::-1].copy()
    return lines if is_horizontal else lines.T


def find_centre(counts: NDArray[np.int64], grid: Grid) -> CentringResult:
    """Find the crystal.

    Parameters
    ----------
    counts
        Each image's number of spots in the order of collection, (steps_x * steps_y,).

    Returns
    -------
    CentringResult
        Its centre in boxes and in pixels of the snapshot; status `fail` if no image has a spot.
    """
    maximum = int(counts.max())
    if maximum == 0:
        return CentringResult(grid.steps, grid.box_size_px, grid.snapshot_offset)
    rows = arrange_grid(counts, grid)
    region = _largest_region(rows >= HALF_MAXIMUM * maximum)
    row, column = np.nonzero(region)
    x, y = float(column.mean()) + 0.5, float(row.mean()) + 0.5
    strongest = int(np.argmax(rows[region]))
    return CentringResult(
        grid.steps,
        grid.box_size_px,
        grid.snapshot_offset,
        status="ok",
        message="ok",
        centre_x=grid.snapshot_offset[0] + x * grid.box_size_px[0],
        centre_y=grid.snapshot_offset[1] + y * grid.box_size_px[1],
        centre_x_box=x,
        centre_y_box=y,
        centre_of_mass=(x, y),
        max_voxel=(int(column[strongest]), int(row[strongest])),
        max_count=maximum,
        n_voxels=len(row),
        total_count=int(rows[region].sum()),
        best_image=int(np.argmax(counts)) + 1,
        reflections_in_best_image=maximum,
        best_region=list(zip(row.tolist(), column.tolist(), strict=True)),
    )


def draw_grid(counts: NDArray[np.int64], grid: Grid) -> str:
    """Draw a grid's spot counts, (steps_x * steps_y,), for people; boxes below half of the maximum are dots."""
    rows = arrange_grid(counts, grid)
    width = len(str(rows.max()))
    shown = max(HALF_MAXIMUM * rows.max(), 1)
    return "\n".join(" ".join((str(count) if count >= shown else ".").rjust(width) for count in row) for row in rows)


def well_limits(loop_type: str | None, step_um: float) -> tuple[tuple[float, float], ...]:
    """Return where a multi-pin loop's wells begin and end along x, in boxes of `step_um` µm.

    >>> well_limits("multipin_2x50+25", step_um=10)
    ((0.0, 5.0), (5.0, 10.0))
    >>> well_limits("Litholoop", step_um=10)
    ()
    """
    match = _MULTIPIN.fullmatch(loop_type or "")
    if match is None:
        return ()
    width, offset = float(match["width"]), float(match["offset"])
    centres = (offset + well * width for well in range(int(match["wells"])))
    return tuple(((centre - width / 2) / step_um, (centre + width / 2) / step_um) for centre in centres)


def well_at(x_box: float, limits: tuple[tuple[float, float], ...]) -> int | None:
    """Return the number, from 1, of the first well that a position (in boxes, as `limits`) is in; None outside all."""
    return next((number for number, (low, high) in enumerate(limits, 1) if low <= x_box <= high), None)


def _largest_region(strong: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which of the strong boxes are in the largest connected region; both are (steps_y, steps_x)."""
    labels, _ = ndimage.label(strong, structure=CORNERS_TOUCH)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0  # what is not strong
    # of equally large regions the one that is met first, row by row
    largest: NDArray[np.bool_] = labels == np.argmax(sizes)
    return largest
