"""`plaza up`, `plaza down`, `plaza status`, `plaza prefect …`: the resident site on this machine."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blocks.settings import get_settings

if TYPE_CHECKING:
    from flows.site.health import SiteStatus
    from flows.site.running_site import RunningSite


def up(
    wait: Annotated[
        bool, typer.Option(help="Return when everything is ready, not as soon as it's been started.")
    ] = True,
    foreground: Annotated[
        bool,
        typer.Option("--foreground", help="Stay while the site runs; exit status 1 if its supervisor is killed."),
    ] = False,
) -> None:
    """Start Prefect's server, its database, the analysis cluster and the worker, and apply the deployments."""
    from flows.site import foreground as in_foreground
    from flows.site import services

    logging.getLogger("flows").setLevel(logging.INFO)
    typer.echo("Starting the site …", err=True)
    site = services.up(wait=wait)
    typer.echo(f"Plaza is up. UI: {site.ui_url}   API: {site.api_url}   Dask: {site.scheduler_address}")
    if wait:
        _check_ispyb(site)
    if foreground:
        in_foreground.stay()


def _check_ispyb(site: RunningSite) -> None:
    """Tell what ISPyB lacks; in a process of its own, whose environment is that of the site's processes."""
    from flows.site.running_site import site_environment

    command = [sys.executable, "-c", "from flows.cli.main import main; main()", "ispyb", "check"]
    environment = {**os.environ, **site_environment(get_settings(), site)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        typer.echo((done.stdout + done.stderr).strip(), err=True)


def down() -> None:
    """Stop everything that `plaza up` started; runs that are under way end and are reported."""
    from flows.site import services

    typer.echo("Plaza is down." if services.down() else "Nothing ran.")


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print it as one JSON object, for monitoring.")] = False,
) -> None:
    """Show what runs, and what keeps runs from starting. Exit status 0 only if a run would start now."""
    from rich.console import Console

    from flows.site import health

    found = health.status()
    if as_json:
        typer.echo(json.dumps(_document(found), default=str))
    else:
        if found.services:
            Console().print(_table(found))
        for problem in found.problems:
            typer.echo(f"problem: {problem}")
        for warning in found.warnings:
            typer.echo(f"warning: {warning}")
    raise typer.Exit(0 if found.is_healthy else 1)


def _document(found: SiteStatus) -> dict[str, object]:
    return {
        "healthy": found.is_healthy,
        "problems": found.problems,
        "warnings": found.warnings,
        "site": found.site and asdict(found.site),
        "services": [asdict(service) for service in found.services],
        "worker_heartbeat_age_s": found.facts.api.heartbeat_age_s,
        "disks": [asdict(disk) for disk in found.facts.disks],
    }


def _table(found: SiteStatus) -> object:
    from rich.table import Table

    addresses = {"server": found.site.ui_url, "analysis-cluster": found.site.scheduler_address} if found.site else {}
    table = Table("service", "state", "pid", "up", "address")
    for service in found.services:
        uptime = str(timedelta(seconds=service.uptime_s)) if service.pid else ""
        where = addresses.get(service.name, "") or service.note
        table.add_row(service.name, service.state, str(service.pid or ""), uptime, where)
    age = found.facts.api.heartbeat_age_s
    heard = "unknown" if age is None else f"heard of {age:.0f} s ago"
    table.add_row("Prefect's worker", heard, "", "", "work pool plaza")
    return table


def prefect(context: typer.Context) -> None:
    """Run Prefect's command line against the running site, as in `plaza prefect flow-run ls`."""
    from flows.site.running_site import site_environment

    os.environ.update(site_environment(get_settings()))
    # In place of this process: Ctrl-C, its output and its exit status are then Prefect's own
    os.execv(Path(sys.executable).with_name("prefect"), ["prefect", *context.args])
