"""What X-ray centring reads: the node's parameters, the grid from ISPyB, and images as their results come."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from blocks.identifiers import Dcid
from tasks.step import StepParameters
from tasks.xray_centring.mathematics import Grid, Orientation, well_at, well_limits

UNFILLED = re.compile(r"\{[$A-Za-z_][^{}]*\}")
MOST_SPOTS = 2**31  # more can't be, and would be no number for the array

Value = TypeVar("Value")


def _unless_unknown(value: Any) -> Any:
    """Take for None what the dispatcher makes of an unknown value: an empty text, "None", or the placeholder."""
    is_unknown = isinstance(value, str) and (value in {"", "None"} or value.startswith("{"))
    return None if is_unknown else value


IfKnown = Annotated[Value | None, BeforeValidator(_unless_unknown)]


def _unless_unfilled(value: Any) -> Any:
    """Refuse a path with a placeholder that nothing has filled; a file that somebody waits for would be missing."""
    if isinstance(value, str) and (placeholder := UNFILLED.search(value)):
        raise ValueError(f"should be a path; seen the unfilled placeholder {placeholder[0]}")
    return _unless_unknown(value)


WantedFile = Annotated[Path | None, BeforeValidator(_unless_unfilled)]


class CentringParameters(StepParameters):
    """The node's parameters that two-dimensional centring uses, with Zocalo's defaults; latencies in seconds.

    Parameters
    ----------
    results_symlink
        Name of a link to the results' folder, two folders further up.
    overwrite_symlink
        A link of that name which leads elsewhere is turned; otherwise it's left alone. A file or folder always is.
    """

    dcid: Annotated[Dcid, Field(gt=0)]
    beamline: Annotated[str, Field(min_length=1)]
    experiment_type: IfKnown[str] = None
    dcg_dcids: IfKnown[list[Dcid]] = None
    output: WantedFile = None
    log: IfKnown[Path] = None
    results_symlink: IfKnown[str] = None
    overwrite_symlink: bool = False
    latency_log_warning: NonNegativeFloat = 30
    latency_log_error: NonNegativeFloat = 300
    sample_id: IfKnown[int] = None
    loop_type: IfKnown[str] = None
    msp_sample_ids: IfKnown[dict[int, int]] = None

    @property
    def is_3d(self) -> bool:
        """The scan is one of several that have to be looked at together."""
        return bool(self.dcg_dcids) or self.experiment_type == "Mesh3D"

    def sample_at(self, x_box: float, step_um: float) -> int | None:
        """Return the sample in the well at a position; the loop's own sample if it hasn't several.

        Parameters
        ----------
        x_box
            Along x, in boxes from the grid's corner.
        step_um
            A box's size along x, µm.
        """
        limits = well_limits(self.loop_type, step_um)
        if not limits or not self.msp_sample_ids:
            return self.sample_id
        # Zocalo's 2-D centring compares y, of the boxes' corners, with these limits along x.
        well = well_at(x_box, limits)
        return None if well is None else self.msp_sample_ids.get(well)


class GridInfo(BaseModel):
    """The columns of ISPyB's GridInfo that centring uses; `px` are pixels of the snapshot."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    steps_x: PositiveInt
    steps_y: PositiveInt
    dx_mm: PositiveFloat
    dy_mm: PositiveFloat
    microns_per_pixel_x: PositiveFloat = Field(alias="micronsPerPixelX")
    microns_per_pixel_y: PositiveFloat = Field(alias="micronsPerPixelY")
    offset_x_px: float = Field(alias="snapshot_offsetXPixel")
    offset_y_px: float = Field(alias="snapshot_offsetYPixel")
    snaked: bool
    orientation: Orientation

    def to_grid(self) -> Grid:
        """Return the grid's geometry in boxes and pixels."""
        return Grid(
            steps=(self.steps_x, self.steps_y),
            box_size_px=(1000 * self.dx_mm / self.microns_per_pixel_x, 1000 * self.dy_mm / self.microns_per_pixel_y),
            snapshot_offset=(self.offset_x_px, self.offset_y_px),
            snaked=self.snaked,
            orientation=self.orientation,
        )


class ImageResult(BaseModel):
    """What centring uses of an image's analysis: its number, from 1; its spots; when it was seen, in epoch seconds."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    number: PositiveInt = Field(alias="file-number")
    n_spots_total: Annotated[NonNegativeInt, Field(le=MOST_SPOTS)]
    seen_at: NonNegativeFloat = Field(alias="file-seen-at")


@dataclass
class GatheredImages:
    """The images of one grid that have come so far, in any order.

    Parameters
    ----------
    expected
        Images of the whole grid, steps_x * steps_y.
    counts
        An image's number, from 1, to its spots.
    last_seen_at
        When the latest of them was seen, seconds since the epoch.
    """

    expected: int
    counts: dict[int, int] = field(default_factory=dict)
    last_seen_at: float = 0.0

    @property
    def is_complete(self) -> bool:
        """All images are there."""
        return len(self.counts) == self.expected

    def add(self, image: ImageResult) -> None:
        """Take an image of the grid.

        Raises
        ------
        ValueError
            It came before, or isn't in the grid.
        """
        if image.number in self.counts:
            raise ValueError(f"image {image.number} came before")
        if image.number > self.expected:
            raise ValueError(f"image {image.number} is outside the grid of {self.expected}")
        self.counts[image.number] = image.n_spots_total
        self.last_seen_at = max(self.last_seen_at, image.seen_at)

    def in_order(self) -> NDArray[np.int64]:
        """Return the complete grid's spot counts in the order of collection, (steps_x * steps_y,)."""
        return np.array([self.counts[number] for number in range(1, self.expected + 1)], dtype=np.int64)

    def missing(self) -> Iterator[int]:
        """Yield the numbers of the images that haven't come; a grid may be said to have any number of them."""
        return (number for number in range(1, self.expected + 1) if number not in self.counts)
