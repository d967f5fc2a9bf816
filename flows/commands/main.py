"""The root of the command line."""

from __future__ import annotations

import logging
import sys

import typer

from blocks.errors import PlazaError

app = typer.Typer(
    name="plaza",
    help="Automatic data processing for synchrotron beamlines.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _hang_in() -> None:
    """Hang in the commands; each imports what it needs when it's called."""
    from flows.commands import step

    app.add_typer(step.app, name="step")


def main() -> None:
    """Run the command line; an error of Plaza's own is a line, not a traceback."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    _hang_in()
    try:
        app()
    except PlazaError as error:
        sys.stderr.write(f"plaza: {error}\n")
        sys.exit(1)
