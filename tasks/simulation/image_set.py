"""Images that lie ready in a folder and are one data collection, with what ISPyB is told of them."""

import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from tasks.ispyb_access.reading.image_files import file_name
from tasks.simulation.grid_scan import GridScan
from tasks.simulation.plan import CollectionKind, CollectionPlan, ImageFormat

TRUTH_SUFFIX = "_truth.json"
SUFFIX = re.compile(r"\.(cbf(\.gz|\.bz2)?|nxs|h5)\Z")


class ImageSet(BaseModel):
    """One data collection's images and how they were taken. Lengths in mm, angles in degrees, wavelength in Å."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path
    template: str = Field(description="File names with # for the image number's digits, or the NXmx master's name")
    kind: CollectionKind
    image_format: ImageFormat
    first: int = Field(1, ge=0, description="Number of the first image")
    images: int = Field(gt=0, description="Images that were asked for")
    recorded: int = Field(gt=0, description="Images that are there: fewer if the data collection was stopped")
    start_deg: float
    width_deg: float
    overlap_deg: float = 0.0
    exposure_s: float
    wavelength_a: float
    distance_mm: float
    beam_x_mm: float
    beam_y_mm: float
    pixels_x: int
    pixels_y: int
    pixel_mm: float
    resolution_a: float | None = None
    detector_model: str
    grid: GridScan | None = None
    companions: tuple[str, ...] = Field((), description="Other files that belong to the images: they come first")

    @property
    def prefix(self) -> str:
        """ISPyB's imagePrefix: the file names without the number of the data collection."""
        return self._name_parts()[0]

    @property
    def number(self) -> int:
        """ISPyB's dataCollectionNumber, from the file names; 1 if they have none."""
        return self._name_parts()[1]

    @property
    def suffix(self) -> str:
        """File names' ending, with that of the compression."""
        ending = SUFFIX.search(self.template)
        return ending[0].removeprefix(".") if ending else ""

    def _name_parts(self) -> tuple[str, int]:
        stem = re.sub(r"_?#+\Z", "", SUFFIX.sub("", self.template)).removesuffix("_master")
        numbered = re.fullmatch(r"(.+)_([0-9]{1,9})", stem, re.DOTALL)
        return (numbered[1], int(numbered[2])) if numbered else (stem, 1)

    def file_name(self, number: int) -> str:
        """Return the name of the file that an image is in; the master's for NXmx."""
        return file_name(self.template, number)

    def file_names(self) -> list[str]:
        """Return the files of the recorded CBF images, in order."""
        return [self.file_name(number) for number in range(self.first, self.first + self.recorded)]

    @property
    def truth_file(self) -> str:
        """Name of the file beside the images that says what they were made of, if they are synthetic."""
        return f"{self.prefix}_{self.number}{TRUTH_SUFFIX}"


def describe_plan(plan: CollectionPlan, folder: Path) -> ImageSet:
    """Describe the rendered images of a plan."""
    from tasks.simulation.geometry import PIXEL_MM

    geometry = plan.geometry
    maker = "Pilatus3" if plan.image_format is ImageFormat.CBF else "Eiger2 X"
    return ImageSet(
        folder=folder,
        template=plan.template,
        kind=plan.kind,
        image_format=plan.image_format,
        images=plan.images,
        recorded=plan.images,
        start_deg=plan.start_deg,
        width_deg=plan.width_deg,
        overlap_deg=plan.width_deg - plan.step_deg,
        exposure_s=plan.exposure_s,
        wavelength_a=geometry.wavelength_a,
        distance_mm=geometry.distance_mm,
        beam_x_mm=geometry.beam_x_px * PIXEL_MM,
        beam_y_mm=geometry.beam_y_px * PIXEL_MM,
        pixels_x=geometry.width,
        pixels_y=geometry.height,
        pixel_mm=PIXEL_MM,
        resolution_a=geometry.edge_resolution_a,
        detector_model=f"{maker} {geometry.detector.value.upper()}",
        grid=plan.grid,
        companions=(f"{plan.prefix}{TRUTH_SUFFIX}",),
    )
