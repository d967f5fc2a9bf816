"""`plaza show`: all that is known of a recipe run. Zocalo's `show_recipeID`."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Annotated

import typer

from blocks.errors import RecipeError, UnknownRecipeRun

FEW, SOME = 5, 20  # messages of each step; of the one that's asked for


def show(
    run: Annotated[
        str | None,
        typer.Argument(
            help="The run: its id or its recipe ID (guid), or the start of one; without it, the latest are listed."
        ),
    ] = None,
    step: Annotated[
        str | None, typer.Option(help="Only the messages of this step: its node's number, or its name.")
    ] = None,
    messages: Annotated[
        int | None, typer.Option(min=0, help=f"How many messages of each step. [default: {FEW}, or {SOME} of --step]")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All messages, and all values at full length.")] = False,
    latest: Annotated[int, typer.Option(min=1, help="How many runs to list.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; nothing is cut.")] = False,
) -> None:
    """Print what a recipe run was asked for, what it read, its recipe, and what became of each message.

    Of a run of Mimas, what it decided and why.
    """
    from blocks.home_folder import MIMAS_RUNS, RECIPE_RUNS
    from blocks.settings import get_settings
    from flows.cli.runs.suspended import as_it_stands
    from flows.recipe.run_record.folder import find_run
    from flows.recipe.run_record.history import latest_runs, read_history

    if run is None:
        runs = [
            replace(headline, state=as_it_stands(headline.recipe_run, headline.state))
            for headline in latest_runs(get_settings().home / RECIPE_RUNS, latest)
        ]
        if as_json:
            for headline in runs:
                typer.echo(json.dumps(asdict(headline)))
        else:
            from flows.cli.runs.output import print_headlines

            print_headlines(runs)
        return
    folder = find_run(run, kinds=(RECIPE_RUNS, MIMAS_RUNS))
    if folder.path.parent.name == MIMAS_RUNS:
        _show_decision(folder.recipe_run, as_json=as_json)
        return
    history = read_history(folder)
    history = replace(history, headline=as_it_stands(history.folder.recipe_run, history.headline))
    nodes = [number for number, node in history.progress.items() if _is_meant(step, node.label)]
    if step is not None and not nodes:
        known = ", ".join(node.label for node in history.progress.values()) or "none so far"
        raise RecipeError(f"recipe run {history.folder.recipe_run} has no step {step!r}; its steps: {known}")
    if as_json:
        from flows.cli.runs.output import as_document

        typer.echo(json.dumps(as_document(history, nodes, messages), indent=2))
    else:
        from flows.cli.runs.output import HistoryPrinter

        if messages is None and not everything:
            messages = FEW if step is None else SOME
        HistoryPrinter(history, is_cut=not everything).print(nodes, messages, only_messages=step is not None)
    for complaint in history.complaints:
        typer.echo(f"plaza: {complaint}", err=True)


def _show_decision(flow_run: str, *, as_json: bool) -> None:
    from flows.mimas.record import mimas_run_folder
    from flows.mimas.record.showing import mimas_run_text

    if as_json and (record := mimas_run_folder(flow_run).read()) is not None:
        typer.echo(json.dumps({"mimas_run": flow_run, **record.model_dump(mode="json")}, indent=2))
    elif (text := mimas_run_text(flow_run)) is not None:
        typer.echo(text)
    else:
        raise UnknownRecipeRun(
            f"Mimas's run {flow_run} has decided nothing so far: what it says is printed by `plaza logs {flow_run}`"
        )


def _is_meant(step: str | None, label: str) -> bool:
    number, _, name = label.partition(" · ")
    return step is None or step in (number, name)
