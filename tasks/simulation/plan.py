"""What is to be simulated: a rotation, a grid scan or a screening of a synthetic crystal."""

import hashlib
import math
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tasks.simulation.geometry import DetectorSize, Geometry
from tasks.simulation.grid_scan import GridScan

# Raise it when the same plan gives other images: rendered images are kept under the plan's digest.
RENDERING = 1


class CollectionKind(StrEnum):
    """The data collections that a beamline makes of a crystal."""

    ROTATION = "rotation"
    GRID = "grid"
    SCREENING = "screening"


class ImageFormat(StrEnum):
    """How a detector writes: Pilatus one CBF an image, Eiger one NXmx master with data files."""

    CBF = "cbf"
    NXS = "nxs"


class CollectionPlan(BaseModel):
    """One data collection of a synthetic crystal. Use `rotation`, `grid_scan` or `screening` to make one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: CollectionKind
    images: int = Field(gt=0)
    width_deg: float = Field(ge=0, description="Rotation during one image; 0 for a still")
    step_deg: float = Field(ge=0, description="From the start of one image to the next one's")
    start_deg: float = 0.0
    image_format: ImageFormat = ImageFormat.CBF
    geometry: Geometry = Geometry.of(DetectorSize.K300, 0.9795, 120.0)
    resolution_a: float = Field(1.9, gt=0, description="Where the crystal stops to diffract")
    exposure_s: float = Field(0.1, gt=0)
    strength: float = Field(40.0, gt=0, description="Counts of an average reflection at low resolution")
    grid: GridScan | None = None
    centre: tuple[float, float] | None = Field(
        None, description="Where the crystal is on the grid, in steps from its top left corner: (0.5, 0.5) is mid-cell"
    )
    blob: float = Field(1.0, gt=0, description="Standard deviation of the crystal's extent, in grid steps")
    images_per_file: int = Field(1000, gt=0, description="Images in one data file of the NXmx form")
    seed: int = 1
    prefix: str = Field("lysozyme_1", pattern=r"^[A-Za-z0-9][\w.-]*$", max_length=40)

    @classmethod
    def rotation(cls, images: int = 90, width_deg: float = 1.0, **settings: object) -> Self:
        """Plan a sweep of adjoining images."""
        return cls(kind=CollectionKind.ROTATION, images=images, width_deg=width_deg, step_deg=width_deg, **settings)

    @classmethod
    def grid_scan(cls, grid: GridScan, **settings: object) -> Self:
        """Plan stills over a grid, row by row; the crystal is a little off the middle unless told."""
        defaults: dict[str, object] = {
            # Off the middle in both, so that swapped axes and reversed lines show
            "centre": (0.56 * grid.steps_x, 0.475 * grid.steps_y),
            "strength": 400.0,  # a still has a tenth of what an image of 1° has: rendering.STILL_WIDTH_DEG
            **settings,
        }
        return cls(kind=CollectionKind.GRID, images=grid.size, width_deg=0, step_deg=0, grid=grid, **defaults)

    @classmethod
    def screening(cls, images: int = 3, width_deg: float = 0.5, step_deg: float = 45.0, **settings: object) -> Self:
        """Plan a few images far apart, to characterise a crystal."""
        return cls(kind=CollectionKind.SCREENING, images=images, width_deg=width_deg, step_deg=step_deg, **settings)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if (self.kind is CollectionKind.GRID) != (self.grid is not None):
            raise ValueError(f"a grid scan has a grid, nothing else has: kind {self.kind.value}, grid {self.grid}")
        if self.grid is not None and self.grid.size != self.images:
            raise ValueError(
                f"a grid of {self.grid.steps_x}×{self.grid.steps_y} takes {self.grid.size} images, not {self.images}"
            )
        if self.grid is not None and self.centre is None:
            raise ValueError("a grid scan needs the crystal's centre, as (x, y) in grid steps")
        if self.kind is not CollectionKind.GRID and self.width_deg == 0:
            raise ValueError(f"a {self.kind.value} needs images of some width, in degrees; seen 0")
        return self

    @property
    def digest(self) -> str:
        """Name of the rendered images: equal plans give equal images."""
        return hashlib.sha256(f"{RENDERING}:{self.model_dump_json()}".encode()).hexdigest()[:16]

    @property
    def template(self) -> str:
        """ISPyB's file template: the images' names with # for digits, or the master's name."""
        return f"{self.prefix}.nxs" if self.image_format is ImageFormat.NXS else f"{self.prefix}_#####.cbf"

    def starts_deg(self) -> tuple[float, ...]:
        """Return the angle at which each image starts."""
        return tuple(self.start_deg + index * self.step_deg for index in range(self.images))

    def strengths(self) -> tuple[float, ...]:
        """Return how much of the crystal the beam meets in each image, from 0 to 1."""
        if self.grid is None or self.centre is None:
            return (1.0,) * self.images
        x, y = self.centre
        return tuple(
            math.exp(-0.5 * ((column + 0.5 - x) ** 2 + (row + 0.5 - y) ** 2) / self.blob**2)
            for column, row in self.grid.cells()
        )


class Truth(BaseModel):
    """What the images were made of: the answer that processing should find. Kept as JSON beside the images."""

    model_config = ConfigDict(frozen=True)

    plan: CollectionPlan
    unit_cell: tuple[float, float, float, float, float, float]
    space_group: str
    orientation: tuple[float, ...] = Field(description="The crystal's A matrix (1/Å) at 0°, row by row")
    reflections: int = Field(description="Reflections predicted over the whole data collection")
    centre_boxes: tuple[float, float] | None = Field(None, description="The centring answer: x and y in grid boxes")
    best_image: int | None = Field(None, description="The image of a grid scan that has most of the crystal, from 1")
