"""`plaza spots`: find spots in images at once, without a server."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from flows.cli.spots.output import Output
    from tasks.spots import FoundSpots, SpotFinder

ThresholdAlgorithm = Literal["dispersion", "dispersion_extended", "radial_profile"]
INTERRUPTED = 130


def _require_finite(value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"expected a finite number; seen {value}")
    return value


def spots(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE[:N[-M]]…",
            help="Images, masters (all images, or image N, or N to M of them), folders.",
            show_default=False,
        ),
    ],
    json_output: Annotated[bool, typer.Option("--json", help="Print a JSON object an image.")] = False,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw into this file (.png, .svg, .pdf): one image with its spots, or many images' numbers."),
    ] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Processes that work at the same time.", show_default="one a core")
    ] = None,
    threshold_algorithm: Annotated[ThresholdAlgorithm, typer.Option(help="How DIALS tells strong pixels.")] = (
        "dispersion"
    ),
    d_min: Annotated[
        float | None, typer.Option(min=0, callback=_require_finite, help="Highest resolution of spots that count, Å.")
    ] = None,
    d_max: Annotated[
        float,
        typer.Option(min=0, callback=_require_finite, help="Lowest resolution of spots that count, Å; 0: no limit."),
    ] = 40.0,
    filter_ice: Annotated[
        bool,
        typer.Option(
            help="Leave spots on ice rings out of `no ice`, of the intensity and of the estimated resolution."
        ),
    ] = True,
    ice_rings_width: Annotated[
        float, typer.Option(min=0, callback=_require_finite, help="Of an ice ring, in 1/d², 1/Å².")
    ] = 0.004,
    disable_parallax_correction: Annotated[
        bool, typer.Option(help="Take spots' places as measured, whatever the depth in the sensor.")
    ] = True,
) -> None:
    """Find spots in images, with the numbers of DIALS: a line an image, as they become ready.

    Nothing has to run for it. Exits with 1 if an image, or a name, couldn't be used (why: on standard error).
    """
    from flows.cli.spots.output import make_output
    from tasks.diffraction.requests import SpotFindingOptions
    from tasks.spots import SpotFinder
    from tasks.spots.plot_file import require_plot_file

    options = SpotFindingOptions(
        d_min=d_min or None,
        d_max=d_max or None,
        threshold_algorithm=threshold_algorithm,
        disable_parallax_correction=disable_parallax_correction,
        filter_ice=filter_ice,
        ice_rings_width=ice_rings_width,
    )
    with make_output(is_json=json_output) as output:
        if plot is not None:
            require_plot_file(plot)
        try:
            with SpotFinder(files, options, processes) as finder:
                is_all_done = _find(finder, output, plot)
        except KeyboardInterrupt:
            output.on_interrupt()
            raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(0 if is_all_done else 1)


def _find(finder: SpotFinder, output: Output, plot: Path | None) -> bool:
    """Find the spots of all images and draw them; tell whether nothing was in the way."""
    began = time.perf_counter()
    wanted = finder.list_images()
    for line in wanted.refused:
        output.on_refusal(line)
    for line in wanted.notes:
        output.on_note(line)
    if not wanted.images:
        if not wanted.refused:
            output.on_refusal("there are no images")
        return False
    output.on_begin(wanted.images)
    found: list[FoundSpots] = []
    for each in finder.find(wanted.images):
        found.append(each)
        output.on_image(each)
    start_s = (finder.work_began or began) - began
    output.on_end(found, time.perf_counter() - began, start_s, finder.processes)
    is_drawn = plot is None or _draw(finder, output, plot, found)
    return is_drawn and not wanted.refused and all(each.analysis for each in found)


def _draw(finder: SpotFinder, output: Output, plot: Path, found: list[FoundSpots]) -> bool:
    from tasks.spots.image_plot import plot_image
    from tasks.spots.sweep_plot import plot_sweep

    if not any(each.analysis for each in found):
        output.on_refusal(f"the plot {plot} isn't drawn: no image could be analysed")
        return False
    if len(found) == 1 and found[0].analysis is not None:
        plot_image(plot, Path(found[0].image.name).name, found[0].analysis.statistics, finder.picture(found[0].image))
    else:
        plot_sweep(plot, found)
    return True
