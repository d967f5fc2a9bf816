"""What the demo ends with: decisions, runs, spots, a preview, the centring answer, rows in ISPyB."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.demo.display import STATE_STYLES
from flows.demo.gda import ControlComputer
from flows.demo.pictures import picture_text, plot_file, plot_text
from flows.display_text import one_line, printable
from flows.monitoring.following import WatchedRun
from tasks.simulation.collection import CollectionRecord
from tasks.simulation.plan import CollectionKind

if TYPE_CHECKING:
    from blocks.settings import Settings
    from flows.mimas.record.outcome import MimasOutcome
    from tasks.ispyb_access.overviews.results import WrittenRows


async def summarise(
    console: Console,
    settings: Settings,
    records: Sequence[CollectionRecord],
    runs: Sequence[WatchedRun],
    gda: ControlComputer,
) -> bool:
    """Print what came of the data collections; return whether every run completed."""
    from blocks.site_ispyb import connect, connect_reader
    from tasks.ispyb_access.overviews.results import read_written_rows

    writing, reading = connect(settings), connect_reader(settings)
    try:
        for record in records:
            console.rule(
                f"[bold]data collection {record.dcid}[/bold]: {record.sweep.kind.value}, {record.sweep.images} images"
            )
            await _show_decisions(console, record)
            _show_runs(console, [run for run in runs if run.dcid == record.dcid])
            rows = await asyncio.to_thread(read_written_rows, reading or writing, record.dcid, writing)
            _show_images(console, settings, record, rows)
            if record.sweep.kind is CollectionKind.GRID:
                _show_centring(console, record, rows)
            _show_rows(console, settings, record, rows, gda)
    finally:
        for engine in (writing, reading):
            if engine is not None:
                engine.dispose()
    failed = [run for run in runs if run.state != "Completed"]
    for run in failed:
        console.print(
            f"[bold red]{run.name}[/bold red]: {run.state}: {escape(printable(run.message))}", highlight=False
        )
    return not failed


async def _show_decisions(console: Console, record: CollectionRecord) -> None:
    from flows.mimas.record.publishing import read_outcome

    console.print("[bold]What Mimas decided, and why[/bold]")
    for event in ("start", "end"):
        outcome = await read_outcome(record.dcid, event)
        console.print(_decision(outcome) if outcome else f"at its {event}: [red]no decision[/red]")


def _decision(outcome: MimasOutcome) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_row(f"at its {outcome.event}", f"{outcome.dc_class} on {outcome.beamline}")
    if not outcome.matched:
        table.add_row("", "[dim]no rule applies[/dim]")
        return table
    table.add_row("  because", ", ".join(outcome.matched))
    table.add_row("  started", "[green]" + ", ".join(launched.recipe for launched in outcome.launched) + "[/green]")
    if outcome.not_installed:
        missing = ", ".join(dict.fromkeys(outcome.not_installed))
        table.add_row("  not installed here", f"[dim]{missing}[/dim]")
    return table


def _show_runs(console: Console, runs: Sequence[WatchedRun]) -> None:
    table = Table(title="What ran", title_justify="left")
    for column in ("flow run", "state"):
        table.add_column(column)
    for column in ("waited", "ran"):
        table.add_column(column, justify="right")
    for run in runs:
        style = STATE_STYLES.get(run.state, "")
        table.add_row(run.name, f"[{style}]{run.state}[/]", f"{run.waited_s:.1f} s", f"{run.ran_s:.1f} s")
    console.print(table)


def _show_images(console: Console, settings: Settings, record: CollectionRecord, rows: WrittenRows) -> None:
    import numpy as np

    quality = rows.image_quality
    if not len(quality.image_number):
        console.print("ISPyB holds no per-image results.")
        return
    images, spots = quality.image_number.tolist(), quality.spots_total.astype(int).tolist()
    console.print(plot_text("spots per image", images, spots))
    has_resolution = quality.d_min_a > 0  # -1: too few spots to tell
    if has_resolution.any():
        resolutions = quality.d_min_a[has_resolution]
        best, median = resolutions.min(), np.median(resolutions)
        title = f"estimated resolution / Å (best {best:.2f}, median {median:.2f})"
        console.print(plot_text(title, quality.image_number[has_resolution].tolist(), resolutions.tolist()))
    plot = plot_file(
        settings.home / "demo" / f"spots-{record.dcid}.png",
        f"Data collection {record.dcid}: {record.sweep.kind.value}",
        images,
        spots,
        quality.d_min_a.tolist(),
    )
    console.print(f"both as a picture: {escape(str(plot))}", soft_wrap=True, highlight=False)
    previews = sorted(_visit_folder(record).glob("jpegs/**/*.jpeg"))
    previews = [path for path in previews if path.with_name(f"{path.stem}t.jpeg").exists() and is_of(path, record)]
    if previews:
        if console.is_terminal:
            console.print(picture_text(previews[0].with_name(f"{previews[0].stem}t.jpeg")))
        console.print(f"the preview: {escape(one_line(str(previews[0])))}", soft_wrap=True, highlight=False)


def _visit_folder(record: CollectionRecord) -> Path:
    return next(folder for folder in record.directory.parents if folder.name == record.visit)


def is_of(preview: Path, record: CollectionRecord) -> bool:
    """Whether a preview is of this data collection: the folders below `jpegs` are those of its images."""
    visit = _visit_folder(record)
    return preview.parent == visit / "jpegs" / record.directory.relative_to(visit)


def _show_centring(console: Console, record: CollectionRecord, rows: WrittenRows) -> None:
    answers = sorted(_visit_folder(record).glob("processed/**/xray-centering/Dials5AResults.json"), key=_modified)
    if not answers or not rows.centrings:
        console.print("[bold red]X-ray centring has no answer.[/bold red]")
        return
    answer = json.loads(answers[-1].read_text())
    centring = rows.centrings[-1]
    table = Table(title="Where the crystal is, in grid boxes", title_justify="left")
    for column in ("", "x", "y", "best image"):
        table.add_column(column)
    table.add_row("found", f"{answer['centre_x_box']:.2f}", f"{answer['centre_y_box']:.2f}", str(answer["best_image"]))
    if record.truth and record.truth.centre_boxes:
        x, y = record.truth.centre_boxes
        table.add_row("truth", f"{x:.2f}", f"{y:.2f}", str(record.truth.best_image))
    table.add_row("in ISPyB", f"{centring.centre_x}", f"{centring.centre_y}", "")
    console.print(table)
    console.print(
        f"written {_modified(answers[-1]) - record.last_image_at:.2f} s after the last image: "
        + escape(one_line(str(answers[-1]))),
        soft_wrap=True,
        highlight=False,
    )


def _modified(path: Path) -> float:
    return path.stat().st_mtime


def _show_rows(
    console: Console, settings: Settings, record: CollectionRecord, rows: WrittenRows, gda: ControlComputer
) -> None:
    where = "another database" if settings.ispyb_url else escape(str(settings.home / "ispyb.sqlite"))
    table = Table(title=f"In ISPyB ({where})", title_justify="left")
    for column in ("table", "rows", "such as"):
        table.add_column(column, overflow="fold")
    quality = rows.image_quality
    if len(quality.image_number):
        best = int(quality.spots_total.argmax())
        table.add_row(
            "ImageQualityIndicators",
            str(len(quality.image_number)),
            f"image {quality.image_number[best]}: {quality.spots_total[best]:.0f} spots, "
            f"{quality.spots_no_ice[best]:.0f} without ice, {quality.d_min_a[best]:.2f} Å, "
            f"total intensity {quality.total_intensity[best]:.0f}",
        )
    for centring in rows.centrings:
        table.add_row(
            "XrayCentring, XrayCentringResult",
            "1",
            f"{centring.type}, {centring.status}: x {centring.centre_x}, y {centring.centre_y}",
        )
    console.print(table)
    if images := gda.images_of(record.dcid):
        console.print(f"GDA was told of {images} images, each when it was analysed")
