"""The root of the command line."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

from blocks.errors import PlazaError
from flows.cli import demo, step, version
from flows.cli.collections import find, last
from flows.cli.dead_letters import commands as dead_letters
from flows.cli.ispyb import tables as ispyb_tables
from flows.cli.jobs import commands as job
from flows.cli.recipes import commands as recipe
from flows.cli.runs import logs, resume, show
from flows.cli.simulation import commands as simulate
from flows.cli.site import deploy, prefect_client, service, settings

app = typer.Typer(name="plaza", no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def plaza(
    asked: Annotated[
        bool,
        typer.Option(
            "--version", callback=version.show_version, is_eager=True, help="Print the version and commit, and exit."
        ),
    ] = False,
) -> None:
    """Automatic data processing for synchrotron beamlines."""


app.command()(demo.demo)
app.command()(service.up)
app.command()(service.down)
app.command()(service.status)
app.command()(deploy.deploy)
app.command()(simulate.simulate)
app.command(add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
    prefect_client.prefect
)
app.command()(find.find)
app.command()(last.last)
app.command()(logs.logs)
app.command()(resume.resume)
app.command()(show.show)
app.command()(settings.settings)
app.add_typer(dead_letters.app, name="dlq")
app.add_typer(ispyb_tables.app, name="ispyb")
app.add_typer(job.app, name="job")
app.add_typer(recipe.app, name="recipe")
app.add_typer(step.app, name="step")


def main() -> None:
    """Run the command line; an error of Plaza's own is a line, not a traceback."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        app()
    except PlazaError as error:
        sys.stderr.write(f"plaza: {error}\n")
        sys.exit(1)
