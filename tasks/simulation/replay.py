"""Find the data collections in a folder of real images, and read from the images how they were taken."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blocks.errors import PlazaError
from tasks.simulation.grid_scan import GridScan
from tasks.simulation.image_set import ImageSet
from tasks.simulation.plan import CollectionKind, ImageFormat

CBF_NAME = re.compile(r"(?P<stem>.+_)(?P<number>\d+)(?P<suffix>\.cbf(\.gz|\.bz2)?)")
MASTER_NAME = re.compile(r"(?P<stem>.+?)(?P<suffix>\.nxs|_master\.h5)")
# Start angles are written with four digits.
SMALLEST_OVERLAP_DEG = 1e-3
# By pixels along the fast and the slow axis
EIGERS = {
    (1028, 1062): "Eiger2 X 1M",
    (2068, 2162): "Eiger2 X 4M",
    (3108, 3262): "Eiger2 X 9M",
    (4148, 4362): "Eiger2 XE 16M",
}


class UnusableImages(PlazaError):
    """A folder holds no images that can be replayed."""


@dataclass(frozen=True)
class Series:
    """Names of one sweep's files: a template with # for digits, or a master's name; and the numbers seen."""

    template: str
    numbers: tuple[int, ...] = ()


def group_files(names: Iterable[str]) -> list[Series]:
    """Group the file names of a folder into sweeps.

    Of a `.nxs` and a `_master.h5` with the same stem, the first is taken. Other files are left out.

    Raises
    ------
    UnusableImages
        A sweep has gaps in its numbers, or its numbers have different widths.
    """
    names = sorted(names)
    numbers: dict[str, list[int]] = defaultdict(list)
    masters: dict[str, str] = {}
    for name in names:
        if image := CBF_NAME.fullmatch(name):
            numbers[image["stem"] + "#" * len(image["number"]) + image["suffix"]].append(int(image["number"]))
        elif (master := MASTER_NAME.fullmatch(name)) and not masters.get(master["stem"], "").endswith(".nxs"):
            masters[master["stem"]] = name
    for template, seen in numbers.items():
        missing = sorted(set(range(seen[0], seen[-1] + 1)) - set(seen))
        if missing:
            raise UnusableImages(
                f"{template} has images {seen[0]} to {seen[-1]} but not {', '.join(map(str, missing[:10]))}: "
                "expected each one; add them, or keep only an unbroken part in the folder"
            )
    cbf = [Series(template, tuple(seen)) for template, seen in numbers.items()]
    return cbf + [Series(name) for name in sorted(masters.values())]


def survey(folder: Path, grid: tuple[int, int] | None = None) -> list[ImageSet]:
    """Find the sweeps of a folder and read their geometry by dxtbx.

    Parameters
    ----------
    folder
        Holds `.cbf`, `.cbf.gz`, `.cbf.bz2` images or NXmx masters with their data files.
    grid
        Columns and rows, for sweeps of stills; unset: a line.

    Raises
    ------
    UnusableImages
        There are none, or they can't be read, or they don't fill the grid.
    """
    if not folder.is_dir():
        raise UnusableImages(f"there is no folder {folder}")
    series = group_files(path.name for path in folder.iterdir() if path.is_file())
    if not series:
        raise UnusableImages(
            f"{folder} has no images: expected .cbf, .cbf.gz or .cbf.bz2 with a number, or .nxs or _master.h5"
        )
    return [_read_files(folder, each, grid) if each.numbers else _read_master(folder, each, grid) for each in series]


def _read_files(folder: Path, series: Series, grid: tuple[int, int] | None) -> ImageSet:
    width = series.template.count("#")
    # The second image is read only for how far the crystal turned from one to the next.
    names = [series.template.replace("#" * width, f"{number:0{width}d}") for number in series.numbers[:2]]
    experiments = [_read_experiment(folder / name) for name in names]
    start_deg, width_deg = experiments[0].scan.get_oscillation()
    overlap_deg = 0.0
    if len(experiments) > 1 and width_deg > 0:
        overlap_deg = width_deg - (experiments[1].scan.get_oscillation()[0] - start_deg)
    return _describe(
        folder,
        series,
        experiments[0],
        grid,
        image_format=ImageFormat.CBF,
        first=series.numbers[0],
        images=len(series.numbers),
        recorded=len(series.numbers),
        overlap_deg=overlap_deg if abs(overlap_deg) > SMALLEST_OVERLAP_DEG else 0.0,
        detector_model=_read_detector_name(folder / names[0]),
    )


def _read_master(folder: Path, series: Series, grid: tuple[int, int] | None) -> ImageSet:
    from tasks.simulation.recorded_frames import count_recorded, list_recorded

    master = folder / series.template
    data_files = {part.name for part in list_recorded(master)}
    experiment = _read_experiment(master)
    recorded = count_recorded(master)
    if not recorded:
        raise UnusableImages(f"the data files of {master} hold no image: not even the first one has been written")
    stem = re.sub(r"(\.nxs|_master\.h5)$", "", master.name)
    related = {path.name for path in folder.glob(f"{stem}_*.h5")} - data_files - {master.name}
    return _describe(
        folder,
        series,
        experiment,
        grid,
        image_format=ImageFormat.NXS,
        images=experiment.imageset.size(),
        recorded=recorded,
        detector_model=EIGERS.get(experiment.detector[0].get_image_size(), "Eiger"),
        companions=tuple(sorted(related)),
    )


def _describe(folder: Path, series: Series, experiment: Any, grid: tuple[int, int] | None, **facts: Any) -> ImageSet:
    panel, beam, scan = experiment.detector[0], experiment.beam, experiment.scan
    start_deg, width_deg = scan.get_oscillation()
    pixel_mm = panel.get_pixel_size()[0]
    beam_x_px, beam_y_px = _find_beam(panel, beam)
    images = facts["images"]
    # As beamlines collect: stills only over a grid, images that don't adjoin only to characterise a crystal.
    is_grid = width_deg == 0 and images > 1
    is_screening = not is_grid and (images == 1 or facts.get("overlap_deg", 0.0) != 0)
    kinds = {is_grid: CollectionKind.GRID, is_screening: CollectionKind.SCREENING}
    return ImageSet(
        folder=folder,
        template=series.template,
        kind=kinds.get(True, CollectionKind.ROTATION),
        start_deg=start_deg,
        width_deg=width_deg,
        exposure_s=scan.get_exposure_times()[0],
        wavelength_a=beam.get_wavelength(),
        distance_mm=panel.get_distance(),
        beam_x_mm=beam_x_px * pixel_mm,
        beam_y_mm=beam_y_px * pixel_mm,
        pixels_x=panel.get_image_size()[0],
        pixels_y=panel.get_image_size()[1],
        pixel_mm=pixel_mm,
        resolution_a=experiment.detector.get_max_inscribed_resolution(beam.get_s0()),
        grid=_fit_grid(series.template, images, grid) if is_grid else None,
        **facts,
    )


def _fit_grid(template: str, images: int, grid: tuple[int, int] | None) -> GridScan:
    columns, rows = grid or (images, 1)
    if columns * rows != images:
        raise UnusableImages(
            f"{template} has {images} images, which don't fill a grid of {columns}x{rows}; say another grid"
        )
    return GridScan(steps_x=columns, steps_y=rows)


def _find_beam(panel: Any, beam: Any) -> tuple[float, float]:
    """Return where the beam meets a panel, in pixels along its fast and its slow axis."""
    try:
        x, y = panel.get_beam_centre_px(beam.get_s0())
    except RuntimeError:  # the beam misses a detector that is turned far away
        return 0.0, 0.0
    return x, y


def _read_experiment(path: Path) -> Any:
    from dxtbx.model.experiment_list import ExperimentListFactory

    try:
        return ExperimentListFactory.from_filenames([str(path)])[0]
    except Exception as error:  # dxtbx raises whatever its many formats do
        raise UnusableImages(f"dxtbx can't read {path} ({type(error).__name__}: {error}); is it complete?") from error


def _read_detector_name(path: Path) -> str:
    """Return the detector's name as a Pilatus writes it into its header."""
    from dxtbx.format.Format import Format

    with Format.open_file(str(path), "rb") as file:
        header = file.read(4096).decode("latin-1")  # the header's text, then the compressed image
    named = re.search(r"# Detector: ([^,\r\n]+)", header)
    return named[1].strip() if named else "Pilatus"
