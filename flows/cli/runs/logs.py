"""`plaza logs`: what the steps of a recipe run say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Annotated

import typer

from tasks.logs.line import LogLine


def logs(
    run: Annotated[
        str,
        typer.Argument(help="The recipe run: its id or its recipe ID (guid), or the start of one.", show_default=False),
    ],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,
    step: Annotated[
        str | None, typer.Option(help="Only this step's lines: its name, or its node's number in the recipe.")
    ] = None,
    level: Annotated[str, typer.Option(help="Only lines of this level, or worse.")] = "debug",
    as_json: Annotated[bool, typer.Option("--json", help="Print the lines as they are kept: JSON.")] = False,
) -> None:
    """Print the log of a recipe run, or of one of Mimas, in order of time, from all its processes and workers."""
    from blocks.errors import RecipeError
    from blocks.home_folder import MIMAS_RUNS, RECIPE_RUNS
    from flows.recipe.run_record.activity import RunEnd
    from flows.recipe.run_record.ending import end_from_outside
    from flows.recipe.run_record.folder import find_run
    from flows.recipe.run_record.log import LogSelection, follow_log, read_level, read_log, steps_of

    wanted = LogSelection(step, read_level(level))
    folder = find_run(run, kinds=(RECIPE_RUNS, MIMAS_RUNS))
    if follow and folder.path.parent.name == MIMAS_RUNS:
        raise RecipeError(f"--follow is for recipe runs, and {folder.recipe_run} is Mimas's: leave it out")
    show = _show_json if as_json else _make_show()
    if follow:
        end = RunEnd(folder)
        with suppress(KeyboardInterrupt):  # how one stops following
            show(line for line in follow_log(folder.log, end) if line in wanted)
        if end.is_lost:
            typer.echo(
                f"plaza logs: no process has recipe run {folder.recipe_run}, which hasn't ended: it was killed, or "
                f"never began. `plaza resume {folder.recipe_run}` takes it up",
                err=True,
            )
        elif (ended := end_from_outside(folder)) is not None:
            typer.echo(f"plaza logs: recipe run {folder.recipe_run} is {ended.state}: {ended.message}", err=True)
        return
    lines = read_log(folder.log)
    found = [line for line in lines if line in wanted]
    if not found and lines:
        steps = ", ".join(steps_of(lines)) or "none"
        typer.echo(
            f"plaza logs: none of {len(lines)} lines is of that step and level; steps with lines: {steps}", err=True
        )
    elif not lines:
        typer.echo(f"plaza logs: recipe run {folder.recipe_run} has logged nothing so far", err=True)
    show(found)


def _show_json(lines: Iterable[LogLine]) -> None:
    for line in lines:
        typer.echo(line.to_json())


def _make_show() -> Callable[[Iterable[LogLine]], None]:
    from rich.console import Console

    from flows.cli.runs.log_lines import LogDisplay

    console, display = Console(highlight=False, soft_wrap=True), LogDisplay()

    def show(lines: Iterable[LogLine]) -> None:
        for line in lines:
            for row in display.rows(line):
                console.print(row)

    return show
