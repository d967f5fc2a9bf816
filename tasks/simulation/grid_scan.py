"""The grid of a grid scan: its size, its steps, and which image is which cell."""

from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class GridScan(BaseModel):
    """What ISPyB's GridInfo says of a grid scan. Steps are in mm, offsets in pixels of the snapshot."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps_x: int = Field(gt=0)
    steps_y: int = Field(gt=0)
    dx_mm: float = Field(0.02, gt=0)
    dy_mm: float = Field(0.02, gt=0)
    microns_per_pixel_x: float = Field(1.25, gt=0)
    microns_per_pixel_y: float = Field(1.25, gt=0)
    snapshot_offset_x_px: float = 330.0
    snapshot_offset_y_px: float = 240.0
    orientation: Literal["horizontal", "vertical"] = "horizontal"
    snaked: bool = False

    @property
    def size(self) -> int:
        """Number of cells, and so of images."""
        return self.steps_x * self.steps_y

    def cells(self) -> Iterator[tuple[int, int]]:
        """Yield the (column, row) of each image, in the order of collection.

        Horizontal scans go along rows, vertical ones along columns. A snaked scan turns back in every second line;
        the first line runs in the positive direction.
        """
        horizontal = self.orientation == "horizontal"
        lines, length = (self.steps_y, self.steps_x) if horizontal else (self.steps_x, self.steps_y)
        for line in range(lines):
            places = reversed(range(length)) if self.snaked and line % 2 else iter(range(length))
            yield from ((place, line) if horizontal else (line, place) for place in places)
