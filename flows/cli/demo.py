"""`plaza demo`: everything on this machine, from the crystal to the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running at the end.")] = False,
    images: Annotated[
        Path | None, typer.Option("--from", help="Collect a folder of real images instead of synthetic ones.")
    ] = None,
    beamline: Annotated[str, typer.Option(help="Where real images are collected.")] = "i24",
    rate: Annotated[float, typer.Option(min=0.01, help="Images a second.")] = 10.0,
) -> None:
    """Simulate a beamline and watch what Plaza makes of it: decisions, runs, results."""
    import asyncio

    from rich.console import Console

    from blocks.settings import get_settings
    from flows.demo.demonstration import DemoOptions, demonstrate

    options = DemoOptions(keep=keep, images=images, beamline=beamline, rate_hz=rate)
    completed = asyncio.run(demonstrate(Console(), get_settings(), options))
    raise typer.Exit(0 if completed else 1)
