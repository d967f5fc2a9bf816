"""`plaza up`, `plaza down`: the resident site on this machine."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer

from blocks.errors import ConfigurationError
from blocks.settings import get_settings
from flows.cli.site.link import print_link
from flows.display_text import one_line

if TYPE_CHECKING:
    from flows.site.running_site import RunningSite

DRAIN_S: Final = 3600.0


def up(
    wait: Annotated[
        bool, typer.Option(help="Return when everything is ready, not as soon as it's been started.")
    ] = True,
    resume: Annotated[
        bool, typer.Option(help="Take up the runs that were interrupted, as `plaza resume --interrupted` does.")
    ] = True,
    foreground: Annotated[
        bool,
        typer.Option(
            "--foreground", help="Stay while the site runs; exit status 1 if it ends, but not by `plaza down`."
        ),
    ] = False,
    bridge: Annotated[
        bool,
        typer.Option("--bridge", help="Start the bridge too, which takes what Zocalo's clients put on RabbitMQ."),
    ] = False,
) -> None:
    """Start Prefect's server, its database, the analysis cluster and the worker, and apply the deployments."""
    logging.getLogger("flows").setLevel(logging.INFO)
    if not foreground:
        _bring_up(wait, resume, bridge)
        return

    from flows.site.foreground import stay

    try:
        stay(lambda: _bring_up(wait, resume, bridge))
    finally:
        _close_profile()


def _bring_up(wait: bool, resume: bool, bridge: bool) -> None:
    """Start the site and what belongs to it, and tell of it."""
    from flows.site import services

    typer.echo("Starting the site …", err=True)
    settings = get_settings()
    if bridge:
        settings = settings.model_copy(update={"bridge": True})
    site = services.up(settings, wait=wait)
    typer.echo(f"Plaza is up. UI: {site.ui_url}   API: {site.api_url}   Dask: {site.scheduler_address}")
    print_link(site)
    _make_profile(site)
    if wait:
        # Both at the same time: each takes seconds, most of which it imports
        with _command(site, "ispyb", "check") as checking:
            if resume:
                _take_up_interrupted(site)
            output, _ = checking.communicate()
        if checking.returncode:
            typer.echo(output.strip(), err=True)


def _make_profile(site: RunningSite) -> None:
    """Have plain `prefect …` work with the site, in the user's shell."""
    from flows.site.prefect_profile import ProfileNotWritten, write_profile

    try:
        hint = write_profile(site)
    except ProfileNotWritten as error:
        hint = str(error)
    if hint:
        typer.echo(hint, err=True)


def _close_profile() -> None:
    """Have plain `prefect …` send the site's secret to nobody who takes its port while it's down."""
    from flows.site.access.secret import read_secret
    from flows.site.prefect_profile import ProfileNotWritten, forget_secret

    try:
        forget_secret(read_secret(get_settings().home))
    except ProfileNotWritten as error:
        typer.echo(str(error), err=True)


def _take_up_interrupted(site: RunningSite) -> None:
    """Tell how many runs were interrupted, and are taken up."""
    with _command(site, "resume", "--interrupted") as resuming:
        output, _ = resuming.communicate()
    if resuming.returncode:
        typer.echo(f"the runs that were interrupted can't be taken up: {output.strip()}", err=True)
    elif len(lines := output.splitlines()) > 1:  # a line for each, and a summary
        typer.echo(lines[-1])


@contextmanager
def _command(site: RunningSite, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Have another command run in a process of its own, whose environment is that of the site's processes.

    What is left of it at the end, which somebody may have asked this command for, is ended.
    """
    from flows.site.running_site import process_environment

    with subprocess.Popen(
        [sys.executable, "-P", "-c", "from flows.cli.main import main; main()", *words],
        env=process_environment(get_settings(), site),
        cwd=site.home,  # as its services: the current folder may be one in which others write
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()  # nothing, if it has ended


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
    _close_profile()
    if count:
        were = "runs were" if count != 1 else "run was"
        typer.echo(f"{count} {were} under way: the next `plaza up` takes up what is left to do")


def _count_runs_under_way() -> int:
    """Return how many runs will be ended; 0 if nobody can say."""
    from flows.site.api_client import ask_api
    from flows.site.running_site import WORK_POOL, read_running_site, site_file

    settings = get_settings()
    if not site_file(settings.home).exists():
        return 0
    under_way = {
        "flow_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING"]}}},
        "work_pools": {"name": {"any_": [WORK_POOL]}},
    }
    try:
        count = ask_api(read_running_site(settings), "flow_runs/count", under_way)
    except ConfigurationError:  # the addresses can't be read, which keeps nobody from stopping the site
        return 0
    return count if isinstance(count, int) else 0


def _drain(seconds: float) -> None:
    """Drain the site; whatever hinders that is told, and it goes down all the same."""
    from flows.site.running_site import site_file

    if not site_file(get_settings().home).exists():
        return
    try:
        left = asyncio.run(_drain_unless_ended(seconds))
    except asyncio.CancelledError:
        typer.echo("asked to end: the site goes on as before", err=True)
        raise typer.Exit(1) from None
    except Exception as error:  # Prefect's, the disk's, … : who says `down` shall have it
        typer.echo(f"the runs under way aren't waited for (any longer): {one_line(str(error))}", err=True)
        return
    if left:
        runs = f"{left} run{'s' * (left != 1)}"
        typer.echo(f"{runs} didn't end in time: the next `plaza up` takes up what is left to do", err=True)


async def _drain_unless_ended(seconds: float) -> int:
    """Drain the site that runs; SIGTERM and SIGHUP break that off in order, as Ctrl-C does."""
    from flows.site.running_site import use_running_site

    site = use_running_site()

    from flows.site.draining import drain  # only now: Prefect reads its environment when it's imported

    def tell(count: int) -> None:
        typer.echo(f"waiting for {count} run{'s' * (count != 1)} under way, {seconds:g} s at most …", err=True)

    draining = asyncio.ensure_future(drain(site.home, seconds, tell))
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, draining.cancel)
    return await draining
