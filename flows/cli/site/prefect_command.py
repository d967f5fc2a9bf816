"""`plaza prefect …`: Prefect's own command line, on the running site."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from blocks.settings import get_settings

if TYPE_CHECKING:
    from flows.site.running_site import RunningSite

SERVER_PATIENCE_S: Final = 60.0  # it's back in some 10 s; several times that where the machine is busy
_TOLD_AFTER_S: Final = 1.0  # a connection waits for a server that starts: who waits is to know


def prefect(context: typer.Context) -> None:
    """Run Prefect's command line against the running site, as in `plaza prefect flow-run ls`."""
    from flows.site.running_site import process_environment, read_running_site

    settings = get_settings()
    site = read_running_site(settings)
    _wait_for_server(site)
    # In place of this process: Ctrl-C, its output and its exit status are then Prefect's own
    program = Path(sys.executable).with_name("prefect")
    os.execve(program, ["prefect", *context.args], process_environment(settings, site))


def _wait_for_server(site: RunningSite, patience_s: float = SERVER_PATIENCE_S) -> None:
    """Wait for a server that the site starts again: Prefect's command line gives up at once, with a traceback."""
    from blocks.errors import PrefectUnavailable
    from blocks.retrying import Pauses, first_only, retry_blocking
    from flows.site.api_client import ask_api
    from flows.site.supervision import Supervisor

    def ask() -> None:
        if ask_api(site, "ready", timeout_s=_TOLD_AFTER_S) is None:  # its database, too: "health" asks the server alone
            raise PrefectUnavailable("Prefect's server doesn't answer")

    def may_come(error: Exception) -> bool:
        return isinstance(error, PrefectUnavailable) and Supervisor(site.home).is_alive()  # which starts it again

    def say(*_: object) -> None:
        typer.echo(f"Prefect's server doesn't answer; waiting for it, {patience_s:.0f} s at most …", err=True)

    pauses = Pauses(first_s=0.2, longest_s=1.0)
    try:
        retry_blocking(ask, may_come, pauses, patience_s=patience_s, tell=first_only(say))
    except PrefectUnavailable as error:
        typer.echo(f"{error}. Events of data collections can be kept for it: see `plaza event --help`", err=True)
