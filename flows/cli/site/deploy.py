"""`plaza deploy`: make the site's deployments those of the files."""

from __future__ import annotations

from typing import Annotated

import typer


def deploy(
    check: Annotated[
        bool, typer.Option("--check", help="Only see that all that the files name is there; needs no server.")
    ] = False,
    parameter: Annotated[
        list[str] | None,
        typer.Option(help="With --check: a placeholder that the runs' parameters will fill; may be given again."),
    ] = None,
) -> None:
    """Apply deployments/*.yaml and a deployment for each recipe file to the running site.

    Deployments of files that went away are removed. Exit status 1 if a file can't be used.
    """
    if check:
        _check(parameter or [])
        return
    from flows.site.running_site import use_running_site

    use_running_site()

    from flows.deploying.apply import deploy as apply

    changes = apply()
    for change in changes:
        typer.echo(str(change))
    if any(change.what == "refused" for change in changes):
        raise typer.Exit(1)


def _check(declared: list[str]) -> None:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from blocks.settings import get_settings
    from flows.deploying.apply import DEPLOYMENTS
    from flows.deploying.check import find_problems

    # Forked, so that what is imported by now isn't again; there are no threads yet
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("fork")) as beside:
        problems = find_problems(DEPLOYMENTS, get_settings().recipe_directory, declared, beside)
    for problem in problems:
        typer.echo(problem, err=True)
    if problems:
        raise typer.Exit(1)
    typer.echo(
        "All entrypoints, work pools, queues, blocks and steps are there, the recipes fit their steps, and Mimas can "
        "use all rules."
    )
