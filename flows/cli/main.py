"""The root of the command line."""

from __future__ import annotations

import gc
import logging
import os
import sys
from pathlib import Path
from traceback import walk_tb
from typing import Annotated, NoReturn

import typer

from blocks.errors import PlazaError
from blocks.settings import get_settings
from flows.cli import (
    collections,
    dead_letters,
    events,
    ispyb,
    jobs,
    mimas,
    recipes,
    requests,
    runs,
    simulation,
    site,
    spots,
    step,
    version,
)
from flows.cli.demo import demo
from flows.site.access.home_folder import is_ours, whose
from flows.site.access.proxies import without_proxies
from flows.site.access.settings_files import refuse_settings_of_others

COMMANDS = (
    demo,
    *(site.up, site.down, site.status, site.deploy, site.settings),
    simulation.simulate,
    spots.spots,
    *(requests.go, requests.pickup),
    *(collections.find, collections.last),
    *(runs.show, runs.logs, runs.resume),
)
GROUPS = {
    "dlq": dead_letters.app,
    "event": events.app,
    "ispyb": ispyb.app,
    "job": jobs.app,
    "mimas": mimas.app,
    "recipe": recipes.app,
    "step": step.app,
}
ANY_ARGUMENTS = {"allow_extra_args": True, "ignore_unknown_options": True}

# typer's pretty tracebacks may show local variables, such as a database's URL with its password
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
    refuse_settings_of_others()  # before any command imports Prefect


for command in COMMANDS:
    app.command()(command)
for name, group in GROUPS.items():
    app.add_typer(group, name=name)
app.command(add_help_option=False, context_settings=ANY_ARGUMENTS)(site.prefect)


def main() -> None:
    """Run the command line; an error of Plaza's own is a line, not a traceback."""
    _open_standard_streams()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    # What a command imports stays till its end: looking for garbage in it hundreds of times, as Python would, takes a
    # tenth of `plaza deploy --check`
    gc.set_threshold(50_000, 20, 20)
    os.environ.update(without_proxies())  # for a PREFECT_API_URL on this machine that no site of ours says
    try:
        app()
    except PlazaError as error:
        _end(str(error))
    except PermissionError as error:
        file = Path(error.filename or get_settings().home)
        if not _is_another_users(file):
            raise
        _end(f"{file}: {error.strerror}. {whose(get_settings().home)}")
    except OSError as error:
        if not _is_of_printing(error):
            raise
        _drop_output()
        _end(f"what is printed can't be written: {error.strerror}; make room where it goes, then say it again")


def _open_standard_streams() -> None:
    """Let those that are closed lead nowhere: a file that got such a number would be taken for one of them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            assert nowhere == number


def _is_of_printing(error: OSError) -> bool:
    """Tell whether it was raised by what all commands print with."""
    *_, (frame, _) = walk_tb(error.__traceback__)
    return error.filename is None and str(frame.f_globals.get("__name__")).partition(".")[0] in {"typer", "rich"}


def _drop_output() -> None:
    """Let what is left to be printed lead nowhere: Python would try once more at its end, and complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _is_another_users(file: Path) -> bool:
    home = get_settings().home
    return not is_ours(home) and (file == home or home in file.parents)


def _end(reason: str) -> NoReturn:
    if sys.stderr is not None:  # it may be closed
        sys.stderr.write(f"plaza: {reason}\n")
    sys.exit(1)
