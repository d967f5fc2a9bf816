"""`plaza up`, `plaza down`, `plaza status`, `plaza prefect …`: the resident site on this machine."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from blocks.settings import get_settings

if TYPE_CHECKING:
    from flows.site.health import SiteStatus
    from flows.site.running_site import RunningSite

DRAIN_S: Final = 3600.0
SERVER_PATIENCE_S: Final = 60.0  # it's back in some 10 s; several times that where the machine is busy


def up(
    wait: Annotated[
        bool, typer.Option(help="Return when everything is ready, not as soon as it's been started.")
    ] = True,
    resume: Annotated[
        bool, typer.Option(help="Take up the runs that were interrupted, as `plaza resume --interrupted` does.")
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
    _print_link(site)
    _make_profile(site)
    if wait:
        # Both at the same time: each takes seconds, most of which it imports
        with _command(site, "ispyb", "check") as checking:
            if resume:
                _take_up_interrupted(site)
            output, _ = checking.communicate()
        if checking.returncode:
            typer.echo(output.strip(), err=True)
    if foreground:
        in_foreground.stay()


def _print_link(site: RunningSite) -> None:
    """Print the link by which a browser gets in, unless systemd's journal would keep it for others to read."""
    output = os.fstat(sys.__stdout__.fileno()) if sys.__stdout__ else None
    if output is None or os.environ.get("JOURNAL_STREAM") != f"{output.st_dev}:{output.st_ino}":
        typer.echo(f"UI in a browser: {site.login_link}")


def _make_profile(site: RunningSite) -> None:
    """Have plain `prefect …` work with the site, in the user's shell."""
    from flows.site.prefect_profile import ProfileNotWritten, write_profile

    try:
        hint = write_profile(site)
    except ProfileNotWritten as error:
        hint = str(error)
    if hint:
        typer.echo(hint, err=True)


def _take_up_interrupted(site: RunningSite) -> None:
    """Tell how many runs were interrupted, and are taken up."""
    with _command(site, "resume", "--interrupted") as resuming:
        output, _ = resuming.communicate()
    if resuming.returncode:
        typer.echo(f"the runs that were interrupted can't be taken up: {output.strip()}", err=True)
    elif len(lines := output.splitlines()) > 1:  # a line for each, and a summary
        typer.echo(lines[-1])


def _command(site: RunningSite, *words: str) -> subprocess.Popen[str]:
    """Begin another command in a process of its own, whose environment is that of the site's processes."""
    from flows.site.running_site import process_environment

    return subprocess.Popen(
        [sys.executable, "-c", "from flows.cli.main import main; main()", *words],
        env=process_environment(get_settings(), site),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def down(
    drain: Annotated[
        bool, typer.Option("--drain", help="Take no more runs, and wait for those under way, for SECONDS at most.")
    ] = False,
    seconds: Annotated[float | None, typer.Argument(min=0, help="With --drain; an hour unless it's said.")] = None,
) -> None:
    """Stop everything that `plaza up` started.

    Runs that are under way end and are reported as Crashed; the next `plaza up` takes them up. Runs that haven't begun
    stay scheduled.
    """
    from flows.site import services

    if seconds is not None and not drain:
        raise typer.BadParameter(f"what are {seconds:g} seconds for? Say `plaza down --drain {seconds:g}`")
    if drain:
        _drain(DRAIN_S if seconds is None else seconds)
    count = _count_runs_under_way()
    typer.echo("Plaza is down." if services.down() else "Nothing ran.")
    if count:
        were = "runs were" if count != 1 else "run was"
        typer.echo(f"{count} {were} under way: the next `plaza up` takes up what is left to do")


def _count_runs_under_way() -> int:
    """Return how many runs will be ended; 0 if nobody can say."""
    from flows.site.health import ask_api
    from flows.site.running_site import WORK_POOL, read_running_site, site_file

    settings = get_settings()
    if not site_file(settings.home).exists():
        return 0
    under_way = {
        "flow_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING"]}}},
        "work_pools": {"name": {"any_": [WORK_POOL]}},
    }
    count = ask_api(read_running_site(settings), "flow_runs/count", under_way)
    return count if isinstance(count, int) else 0


def _drain(seconds: float) -> None:
    from flows.site.running_site import site_file, use_running_site

    if not site_file(get_settings().home).exists():
        return
    site = use_running_site()

    from flows.site.draining import drain  # only now: Prefect reads its environment when it's imported

    def tell(count: int) -> None:
        typer.echo(f"waiting for {count} run{'s' * (count != 1)} under way, {seconds:g} s at most …", err=True)

    if left := asyncio.run(drain(site.home, seconds, tell)):
        runs = f"{left} run{'s' * (left != 1)}"
        typer.echo(f"{runs} didn't end in time: the next `plaza up` takes up what is left to do", err=True)


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
            if found.site:
                _print_link(found.site)
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
    from blocks.retrying import Pauses, retry_blocking
    from flows.site.health import ask_api
    from flows.site.supervision import Supervisor

    def ask() -> None:
        if ask_api(site, "ready") is None:  # its database, too: "health" asks the server alone
            raise PrefectUnavailable("Prefect's server doesn't answer")

    def may_come(error: Exception) -> bool:
        return isinstance(error, PrefectUnavailable) and Supervisor(site.home).is_alive()  # which starts it again

    said = False

    def say(*_: object) -> None:
        nonlocal said
        if not said:
            typer.echo(f"Prefect's server doesn't answer; waiting for it, {patience_s:.0f} s at most …", err=True)
        said = True

    pauses = Pauses(first_s=0.2, longest_s=1.0)
    try:
        retry_blocking(ask, may_come, pauses, patience_s=patience_s, tell=say)
    except PrefectUnavailable as error:
        typer.echo(f"{error}. Events of data collections can be kept for it: see `plaza event --help`", err=True)
