"""`plaza go`: run recipes for a data collection, a job or nothing, as `zocalo.go` does."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from flows.events.request import RunRequest
    from flows.events.submitting import Told


def go(
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="DCID", help="The data collection, or with -p the job.", show_default=False),
    ] = None,
    recipes: Annotated[
        list[str] | None,
        typer.Option(
            "--recipe",
            "-r",
            metavar="RECIPE",
            help="A recipe; several run as one. mimas is told of an event: -s event=end.",
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="A recipe file of your own.", show_default=False)
    ] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="KEY=VALUE", help="For the recipe's placeholders; any number."),
    ] = None,
    no_dcid: Annotated[bool, typer.Option("--no-dcid", "-n", help="For no data collection.")] = False,
    is_job: Annotated[
        bool, typer.Option("--process", "-p", help="The id is that of a processing job in ISPyB, whose recipe is run.")
    ] = False,
    scaling: Annotated[
        str | None,
        typer.Option(
            "--autoprocscalingid", "-a", metavar="APSID", help="A scaling in ISPyB, for the recipe.", show_default=False
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-d", help="Print what would be sent, and send nothing.")
    ] = False,
    drop: Annotated[
        bool, typer.Option("--drop", help="Only leave a file in the home; the site, or `plaza pickup`, sends it.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run recipes for a data collection or a processing job, as zocalo.go does.

    While the site can't be reached, what is asked for is kept in a file of the home, and sent once it can.
    """
    from flows.cli.requests.building import Arguments, message_of, own_headers, queues_without_step, request_of

    if verbose:
        logging.getLogger("flows").setLevel(logging.INFO)
    arguments = Arguments(ids or (), recipes or (), file, parameters or (), no_dcid, is_job, scaling)
    request, headers = request_of(arguments), own_headers()
    for fault in queues_without_step(request):
        typer.echo(f"the run will fail: {fault}", err=True)
    if dry_run:
        _check(request)
        typer.echo(json.dumps({"headers": headers, "message": message_of(request)}, indent=2))
        return
    _print(request, _send(request, headers, drop=drop), as_json)


def _check(request: RunRequest) -> None:
    from flows.cli.requests.building import WrongArguments, check_names
    from flows.events.submitting import check

    check(request)
    try:
        check_names(request)
    except WrongArguments as error:
        raise WrongArguments(f"{error}{_near_names(request)}") from error


def _send(request: RunRequest, headers: dict[str, str], *, drop: bool) -> Told:
    import asyncio

    from flows.cli.events.site_of_events import use_site_of_events
    from flows.events.drop_folder.folder import make_drop_folder

    with suppress(OSError):  # then nothing can be kept here, and that is told
        make_drop_folder()
    use_site_of_events()  # before anything imports Prefect
    from flows.events.sending import SendingRefused
    from flows.events.submitting import Told, drop_request, submit_request

    if drop:
        return Told(kept=drop_request(request, headers))
    try:
        return asyncio.run(submit_request(request, headers))
    except SendingRefused as error:
        raise SendingRefused(f"{error}{_near_names(request)}") from error


def _near_names(request: RunRequest) -> str:
    """Name recipes that may have been meant."""
    from difflib import get_close_matches

    from flows.recipe.catalogue import recipe_files

    installed = recipe_files()
    near = {
        name: None
        for wanted in request.recipes
        if wanted not in installed
        for name in get_close_matches(wanted, installed)
    }
    return f". Near it: {', '.join(near)}" if near else ""


def _print(request: RunRequest, told: Told, as_json: bool) -> None:
    kept = None if told.kept is None else str(told.kept)
    if as_json:
        runs = [
            {"recipe": run.recipe, "flow_run_id": str(run.flow_run_id), "recipe_id": run.recipe_id} for run in told.runs
        ]
        typer.echo(json.dumps({"runs": runs, "kept": kept}))
        return
    for run in told.runs:
        typer.echo(f"{run.recipe}: flow run {run.flow_run_id}, recipe ID {run.recipe_id}")
    if kept:
        typer.echo(f"kept until the site takes it: {kept}")
    elif not told.runs:
        typer.echo("sent by the site's worker; which run it is can't be asked just now")
