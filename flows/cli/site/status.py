"""`plaza status`: would a run start now."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.site.link import print_link
from flows.display_text import moment, one_line

if TYPE_CHECKING:
    from flows.events.bridge.state import BridgeState
    from flows.site.health import SiteStatus
    from flows.site.running_site import RunningSite


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print it as one JSON object, for monitoring.")] = False,
    acknowledge: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Take note that spots of this run weren't DIALS's: it's no problem any more."),
    ] = None,
) -> None:
    """Show what runs, and what keeps runs from starting. Exit status 0 only if a run would start now.

    That spots weren't DIALS's is a problem, too, until somebody has taken note of it or the software is another.
    """
    from rich.console import Console

    from flows.site import health

    if acknowledge is not None:
        _acknowledge(acknowledge)
        return
    found = health.status()
    if as_json:
        typer.echo(json.dumps(_document(found), default=str))
    else:
        if found.services:
            Console().print(_table(found))
            if found.site:
                _print_addresses(found.site)
            if found.facts.bridge:
                typer.echo(_bridge_line(found.facts.bridge))
        for problem in found.problems:
            typer.echo(f"problem: {problem}")
        for warning in found.warnings:
            typer.echo(f"warning: {warning}")
    raise typer.Exit(0 if found.is_healthy else 1)


def _acknowledge(run: str) -> None:
    from blocks.settings import get_settings
    from tasks.diffraction.dials_checks.differences import Differences

    for found in Differences(get_settings().home).acknowledge(run):
        typer.echo(f"noted: {one_line(found.image)} of run {found.recipe_run} differed from DIALS")


def _document(found: SiteStatus) -> dict[str, object]:
    return {
        "healthy": found.is_healthy,
        "problems": found.problems,
        "warnings": found.warnings,
        "site": found.site and asdict(found.site),
        "services": [asdict(service) for service in found.services],
        "worker_heartbeat_age_s": found.facts.api.heartbeat_age_s,
        "spots_not_as_dials": [asdict(each) for each in found.facts.differences],
        "no_kernel": found.facts.no_kernel,
        "bridge": found.facts.bridge and found.facts.bridge.model_dump(),
        "disks": [asdict(disk) for disk in found.facts.disks],
    }


def _print_addresses(site: RunningSite) -> None:
    """Print where the site is, a line each: however narrow a terminal is, they can be copied whole."""
    typer.echo(f"Prefect's API: {site.api_url}")
    typer.echo(f"Prefect's UI: {site.ui_url}")
    typer.echo(f"Dask: {site.scheduler_address}")
    print_link(site)


def _bridge_line(state: BridgeState) -> str:
    """Say what the bridge does and has done."""
    since = "away" if state.connected_since is None else f"connected since {moment(state.connected_since)}"
    counts = f"{state.taken} taken, {state.rejected} rejected, {state.held} held, {state.waiting} waiting"
    results = f"{state.published} published, {state.outbox} to be"
    error = ""
    if state.last_error_at is not None:
        error = f"; last error, {moment(state.last_error_at)}: {one_line(state.last_error)}"
    return f"Bridge: {state.broker or 'no broker'}, {since}; messages: {counts}; {results}{error}"


def _table(found: SiteStatus) -> object:
    from rich.table import Table

    table = Table("service", "state", "pid", "up", "note")
    for service in found.services:
        uptime = str(timedelta(seconds=service.uptime_s)) if service.pid else ""
        table.add_row(service.name, service.state, str(service.pid or ""), uptime, service.note)
    age = found.facts.api.heartbeat_age_s
    heard = "unknown" if age is None else f"heard of {age:.0f} s ago"
    table.add_row("Prefect's worker", heard, "", "", "work pool plaza")
    return table
