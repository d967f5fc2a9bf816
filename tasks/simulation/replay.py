"""Find the data collections in a folder of real images, and read from the images how they were taken."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.ispyb_access.reading.image_files import file_name
from tasks.simulation.file_groups import MASTER_NAME, Series, UnusableImages, group_files, stem_of_master
from tasks.simulation.grid_scan import GridScan
from tasks.simulation.image_set import ImageSet
from tasks.simulation.plan import CollectionKind, ImageFormat

# Start angles are written with four digits.
SMALLEST_OVERLAP_DEG = 1e-3
# By pixels along the fast and the slow axis
EIGERS = {
    (1028, 1062): "Eiger2 X 1M",
    (2068, 2162): "Eiger2 X 4M",
    (3108, 3262): "Eiger2 X 9M",
    (4148, 4362): "Eiger2 XE 16M",
}


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
    # Hidden files are those of a copy that is under way, or of an editor
    series = group_files(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    if not series:
        raise UnusableImages(
            f"{folder} has no images: expected .cbf, .cbf.gz or .cbf.bz2 with a number after an underscore (x_1.cbf), "
            "or .nxs or _master.h5"
        )
    masters = {each.template: _data_files(folder / each.template) for each in series if not each.numbers}
    return [
        _read_files(folder, each, grid)
        if each.numbers
        else _read_master(folder, each, grid, _companions(folder, each.template, masters))
        for each in series
    ]


def _read_files(folder: Path, series: Series, grid: tuple[int, int] | None) -> ImageSet:
    from tasks.simulation.cbf_angles import check_headers, mean_step, read_header

    files = [folder / file_name(series.template, number) for number in series.numbers]
    check_headers(files)
    # Beside the first image, two are read for how far the crystal turned: dxtbx takes a while for each.
    places = sorted({0, min(1, len(files) - 1), len(files) - 1})
    experiments = [_read_experiment(files[place]) for place in places]
    starts_deg = [experiment.scan.get_oscillation()[0] for experiment in experiments]
    return _describe(
        folder,
        series,
        experiments[0],
        grid,
        step_deg=mean_step(files, zip(places, starts_deg, strict=True)),
        image_format=ImageFormat.CBF,
        first=series.numbers[0],
        images=len(series.numbers),
        recorded=len(series.numbers),
        detector_model=_find_detector_name(read_header(files[0])),
    )


def _data_files(master: Path) -> frozenset[str]:
    from tasks.simulation.recorded_frames import list_recorded

    return frozenset(part.name for part in list_recorded(master))


def _companions(folder: Path, template: str, masters: Mapping[str, frozenset[str]]) -> tuple[str, ...]:
    """Return the files that belong to a master beside its data files, by their names; other masters have their own."""
    stem = stem_of_master(template)
    longer = [other for other in map(stem_of_master, masters) if other.startswith(f"{stem}_")]
    taken = {*masters, *(file for files in masters.values() for file in files)}
    names = (path.name for path in folder.iterdir() if path.suffix == ".h5")
    own = {name for name in names if name.startswith(f"{stem}_")} - taken
    return tuple(sorted(name for name in own if not any(name.startswith(f"{other}_") for other in longer)))


def _read_master(folder: Path, series: Series, grid: tuple[int, int] | None, companions: tuple[str, ...]) -> ImageSet:
    from tasks.simulation.recorded_frames import count_recorded
    from tasks.simulation.scan_angles import read_step

    master = folder / series.template
    experiment = _read_experiment(master)
    images = experiment.imageset.size()
    recorded = count_recorded(master)
    if not recorded:
        raise UnusableImages(f"the data files of {master} hold no image: not even the first one has been written")
    if recorded > images:
        raise UnusableImages(
            f"{master} has {recorded} images, but says where the crystal stood for {images} of them only, which is all "
            "that DIALS reads; expected an angle for each"
        )
    return _describe(
        folder,
        series,
        experiment,
        grid,
        step_deg=read_step(master, images),
        image_format=ImageFormat.NXS,
        images=images,
        recorded=recorded,
        detector_model=EIGERS.get(experiment.detector[0].get_image_size(), "Eiger"),
        companions=companions,
    )


def _describe(
    folder: Path,
    series: Series,
    experiment: Any,
    grid: tuple[int, int] | None,
    *,
    step_deg: float | None,
    **facts: Any,
) -> ImageSet:
    """Describe a sweep; `step_deg` is from the start of an image to that of the next one, None if nothing says it."""
    panel, beam, scan = experiment.detector[0], experiment.beam, experiment.scan
    start_deg, width_deg = scan.get_oscillation()
    pixel_mm = panel.get_pixel_size()[0]
    beam_x_px, beam_y_px = _find_beam(panel, beam)
    images = facts["images"]
    overlap_deg = 0.0 if step_deg is None else width_deg - step_deg
    if abs(overlap_deg) < SMALLEST_OVERLAP_DEG:
        overlap_deg = 0.0
    # As beamlines collect: stills at one angle only over a grid, images that don't adjoin to characterise a crystal.
    is_grid = width_deg == 0 and overlap_deg == 0 and images > 1
    is_screening = not is_grid and (images == 1 or overlap_deg != 0)
    kinds = {is_grid: CollectionKind.GRID, is_screening: CollectionKind.SCREENING}
    return ImageSet(
        folder=folder,
        template=series.template,
        kind=kinds.get(True, CollectionKind.ROTATION),
        start_deg=start_deg,
        width_deg=width_deg,
        overlap_deg=overlap_deg,
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

    from tasks.diffraction.image_files.single_images.plain_names import plain_name

    try:
        is_master = MASTER_NAME.fullmatch(path.name)
        experiments = ExperimentListFactory.from_filenames([str(path) if is_master else plain_name(str(path))])
    except Exception as error:  # dxtbx raises whatever its many formats do
        raise UnusableImages(f"dxtbx can't read {path} ({type(error).__name__}: {error}); is it complete?") from error
    if len(experiments) != 1:
        raise UnusableImages(f"{path} has {len(experiments)} sweeps to dxtbx; expected one in a file")
    return experiments[0]


def _find_detector_name(header: str) -> str:
    """Return the detector's name as a Pilatus writes it into its header."""
    named = re.search(r"# Detector: ([^,\r\n]+)", header)
    return named[1].strip() if named else "Pilatus"
