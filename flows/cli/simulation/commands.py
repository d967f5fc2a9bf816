"""`plaza simulate`: data collections that happen, of a synthetic crystal or again from a folder of real images."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blocks.errors import PlazaError
from tasks.simulation.geometry import DetectorSize
from tasks.simulation.plan import CollectionKind, ImageFormat

if TYPE_CHECKING:
    from tasks.simulation.geometry import Geometry
    from tasks.simulation.plan import CollectionPlan

app = typer.Typer(help="Simulate data collections.", pretty_exceptions_enable=False)

WAVELENGTH_A = 0.9795  # near selenium's absorption edge, a usual one at MX beamlines
DISTANCES_MM = {DetectorSize.K300: 120.0, DetectorSize.M1: 180.0, DetectorSize.M2: 250.0, DetectorSize.M6: 350.0}


@app.command()
def simulate(
    kind: Annotated[CollectionKind | None, typer.Argument(help="What to collect from a synthetic crystal.")] = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="Collect the images of this folder again, one sweep after the other.")
    ] = None,
    images: Annotated[int | None, typer.Option(min=1, help="Images of a rotation (90) or a screening (3).")] = None,
    width: Annotated[float | None, typer.Option(help="Degrees an image: rotation 1, screening 0.5.")] = None,
    grid: Annotated[str | None, typer.Option(help="Columns x rows of a grid scan; of replayed stills too.")] = None,
    centre: Annotated[
        str | None, typer.Option(help="Where the crystal is: X,Y in grid boxes from the top left corner.")
    ] = None,
    vertical: Annotated[bool, typer.Option("--vertical", help="Scan the grid along its columns.")] = False,
    snaked: Annotated[bool, typer.Option("--snaked", help="Scan every second line backwards.")] = False,
    detector: Annotated[DetectorSize, typer.Option(help="Size of the detector.")] = DetectorSize.K300,
    distance: Annotated[float | None, typer.Option(help="Distance of the detector, mm.")] = None,
    resolution: Annotated[float, typer.Option(help="Where the crystal stops to diffract, Å.")] = 1.9,
    image_format: Annotated[ImageFormat, typer.Option("--format", help="Pilatus CBF or Eiger NXmx.")] = ImageFormat.CBF,
    rate: Annotated[float, typer.Option(min=0.01, help="Images a second.")] = 10.0,
    beamline: Annotated[str, typer.Option(help="Beamline.")] = "i03",
    visit: Annotated[
        str | None, typer.Option(help="Visit, as in mx12345-1; unset: the beamline's own simulated one.")
    ] = None,
    directory: Annotated[
        Path | None, typer.Option(help="Root of the beamlines' folders; unset: `data` in the home folder.")
    ] = None,
    events: Annotated[
        bool, typer.Option(help="Announce start and end to Mimas; while the site is away, they are kept.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 1,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON record for each data collection.")
    ] = False,
) -> None:
    """Let a data collection happen: rows in ISPyB, start event, images in time, run status, end event."""
    if (kind is None) == (source is None):
        raise typer.BadParameter("say what to simulate (rotation, grid or screening), or --from FOLDER")
    plan = None
    size = _parse_grid(grid) if grid is not None else None
    if kind is not None:
        plan = _make_plan(
            kind,
            images=images,
            width_deg=width,
            grid=size,
            centre=_parse_centre(centre) if centre is not None else None,
            scan={"orientation": "vertical" if vertical else "horizontal", "snaked": snaked},
            common={
                "image_format": image_format,
                "geometry": _place_detector(detector, distance),
                "resolution_a": resolution,
                "seed": seed,
            },
        )
    try:
        asyncio.run(_simulate(plan, source, size, rate, beamline, visit, directory, events, json_output))
    except PlazaError as error:
        typer.echo(f"plaza simulate: {error}", err=True)
        raise typer.Exit(1) from error


async def _simulate(
    plan: CollectionPlan | None,
    source: Path | None,
    grid: tuple[int, int] | None,
    rate_hz: float,
    beamline: str,
    visit_name: str | None,
    directory: Path | None,
    events: bool,
    json_output: bool,
) -> None:
    from blocks.settings import get_settings
    from flows.cli.events.site_of_events import use_site_of_events, warn_unless_mimas_hears
    from flows.cli.simulation.output import JsonLines, Terminal
    from flows.site.running_site import usable_folder
    from tasks.simulation.visit import Visit

    if events:
        use_site_of_events()
    settings = get_settings()
    usable_folder(settings.home)
    root = directory or settings.home / "data"
    if visit_name is None:
        visit = Visit.simulated(beamline, root)
    else:
        visit = Visit.parse(visit_name, beamline=beamline, root=root)

    from flows.demo.simulated_beamline import announce_to_nobody, collect_all
    from flows.events.telling_mimas import tell_mimas
    from tasks.simulation.collection import find_sweeps, render

    if events:
        await warn_unless_mimas_hears("plaza simulate")
    with JsonLines(sys.stdout) if json_output else Terminal() as output:
        if plan is not None:
            output.on_rendering(plan)
            sweeps = [await render(plan, settings.home / "simulated", output.on_image)]
        else:
            assert source is not None
            sweeps = await find_sweeps(source, grid)
        announce = tell_mimas if events else announce_to_nobody
        collections = collect_all(
            sweeps, visit, settings, announce, rate_hz=rate_hz, on_begin=output.on_begin, on_image=output.on_image
        )
        async for record in collections:
            output.on_end(record)


def _make_plan(
    kind: CollectionKind,
    *,
    images: int | None,
    width_deg: float | None,
    grid: tuple[int, int] | None,
    centre: tuple[float, float] | None,
    scan: dict[str, Any],
    common: dict[str, Any],
) -> CollectionPlan:
    from pydantic import ValidationError

    from blocks.validation_faults import describe
    from tasks.simulation.grid_scan import GridScan
    from tasks.simulation.plan import CollectionPlan

    chosen: dict[str, Any] = {
        key: value for key, value in {"images": images, "width_deg": width_deg}.items() if value is not None
    }
    is_grid = kind is CollectionKind.GRID
    for option, value, belongs in (
        ("--grid", grid, is_grid),
        ("--centre", centre, is_grid),
        ("--images", images, not is_grid),
        ("--width", width_deg, not is_grid),
    ):
        if value is not None and not belongs:
            raise typer.BadParameter(f"{option} isn't for a {kind.value}")
    try:
        if kind is CollectionKind.GRID:
            columns, rows = grid or (5, 4)
            at = {"centre": centre} if centre else {}
            return CollectionPlan.grid_scan(GridScan(steps_x=columns, steps_y=rows, **scan), **at, **common)
        make = CollectionPlan.rotation if kind is CollectionKind.ROTATION else CollectionPlan.screening
        return make(**chosen, **common)
    except ValidationError as error:
        raise typer.BadParameter(describe(error)) from error


def _place_detector(detector: DetectorSize, distance_mm: float | None) -> Geometry:
    from tasks.simulation.geometry import Geometry

    if distance_mm is not None and distance_mm <= 0:
        raise typer.BadParameter(f"--distance: expected millimetres above 0, seen {distance_mm}")
    return Geometry.of(detector, WAVELENGTH_A, distance_mm or DISTANCES_MM[detector])


def _parse_grid(text: str) -> tuple[int, int]:
    numbers = re.fullmatch(r"([1-9]\d*)[x×X]([1-9]\d*)", text.strip())
    if numbers is None:
        raise typer.BadParameter(f"--grid: expected columns x rows like 5x4, seen {text!r}")
    return int(numbers[1]), int(numbers[2])


def _parse_centre(text: str) -> tuple[float, float]:
    try:
        x, y = (float(number) for number in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"--centre: expected X,Y in grid boxes like 2.8,1.9, seen {text!r}") from None
    return x, y
