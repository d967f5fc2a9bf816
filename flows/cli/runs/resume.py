"""`plaza resume RUN`: go on with a recipe run that failed or was killed."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import typer

from blocks.errors import RecipeError


def resume(
    run: Annotated[str, typer.Argument(help="Id of the recipe run (of its flow run), or the start of it.")],
    from_: Annotated[
        int | None, typer.Option("--from", metavar="NODE", help="Repeat this node and all that follow it.")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="NAME=VALUE", help="Another parameter for the node of --from (JSON or text)."),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the run's end; exit status 1 unless it's good.")
    ] = False,
    timeout: Annotated[float, typer.Option(help="Seconds that --wait waits.")] = 3600,
) -> None:
    """Go on with a recipe run: what had not completed, and messages that were refused, with the recorded inputs.

    What is done isn't done again, unless --from asks for it.
    """
    from flows.site.running_site import use_running_site

    changes = dict(_read_parameter(text) for text in param or ())
    if changes and from_ is None:
        raise RecipeError("--param changes the parameters of the node that --from names; name one")
    use_running_site()

    # Only now: Prefect reads its environment when it's imported
    from flows.recipe import resume as rescheduling
    from flows.recipe.run_record.dead_letters.store import DeadLetters
    from flows.recipe.run_record.folder import find_run
    from flows.recipe.run_record.resumption import repeat_from

    folder = find_run(run)
    if from_ is not None:
        rescheduling.check_not_at_work(folder)
        nodes = repeat_from(folder, from_, changes, DeadLetters())
        typer.echo(f"repeats nodes {', '.join(map(str, sorted(nodes)))}")
    typer.echo(asyncio.run(rescheduling.schedule_again(folder)))
    if wait:
        try:
            ended = asyncio.run(rescheduling.await_end(folder, timeout))
        except TimeoutError as error:
            raise RecipeError(
                f"recipe run {folder.recipe_run} hasn't ended within {timeout:g} s; it goes on"
            ) from error
        assert ended.state is not None
        typer.echo(f"{ended.state.name}: {ended.state.message}")
        if not ended.state.is_completed():
            raise typer.Exit(1)


def _read_parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise RecipeError(f"--param {text!r}: expected NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
