"""`plaza resume RUN`: go on with a run that failed or was killed; `plaza resume --interrupted`: with all that died."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blocks.errors import RecipeError

if TYPE_CHECKING:
    from flows.recipe.run_record.folder import RunFolder


def resume(
    run: Annotated[
        str | None,
        typer.Argument(
            help="The run, a recipe's or Mimas's: its flow run's id or its recipe ID (guid), or the start of one."
        ),
    ] = None,
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
    interrupted: Annotated[
        bool, typer.Option("--interrupted", help="Take up all runs that died with their process, worker or machine.")
    ] = False,
    within: Annotated[
        float, typer.Option(metavar="DAYS", min=0, max=3650, help="With --interrupted: those that died so lately.")
    ] = 7,
) -> None:
    """Go on with a run: what had not completed, and messages that were refused, with the recorded inputs.

    What is done isn't done again, unless --from asks for it.
    """
    from flows.site.running_site import use_running_site

    changes = dict(_read_parameter(text) for text in param or ())
    if changes and from_ is None:
        raise RecipeError("--param changes the parameters of the node that --from names; name one")
    if (run is None) != interrupted or (interrupted and (from_ is not None or wait)):
        raise typer.BadParameter("name a run, or say --interrupted, which takes neither --from nor --wait")
    use_running_site()
    if run is None:
        _resume_interrupted(timedelta(days=within))
        return

    # Only now: Prefect reads its environment when it's imported
    from flows.recipe import resume as rescheduling
    from flows.site.interrupted_runs import has_process

    folder = asyncio.run(rescheduling.find_flow_run(run))
    if from_ is not None:
        _repeat_from(folder, from_, changes)
    typer.echo(asyncio.run(rescheduling.schedule_again(folder, lambda: has_process(folder.recipe_run))))
    if wait:
        _await_end(folder, timeout)


def _resume_interrupted(within: timedelta) -> None:
    from flows.site.interrupted_runs import summary, take_up_interrupted

    async def take_up() -> str:
        found = []
        async for interrupted in take_up_interrupted(within):
            typer.echo(str(interrupted))
            found.append(interrupted)
        return summary(found)

    typer.echo(asyncio.run(take_up()))


def _repeat_from(folder: RunFolder, node: int, changes: dict[str, Any]) -> None:
    from flows.recipe.resume import check_not_at_work
    from flows.recipe.run_record.dead_letters.store import DeadLetters
    from flows.recipe.run_record.resumption import repeat_from

    check_not_at_work(folder)
    nodes = repeat_from(folder, node, changes, DeadLetters())
    typer.echo(f"repeats nodes {', '.join(map(str, sorted(nodes)))}")


def _await_end(folder: RunFolder, timeout_s: float) -> None:
    from flows.recipe.resume import await_end

    try:
        ended = asyncio.run(await_end(folder, timeout_s))
    except TimeoutError as error:
        raise RecipeError(f"run {folder.recipe_run} hasn't ended within {timeout_s:g} s; it goes on") from error
    assert ended.state is not None
    typer.echo(f"{ended.state.name}: {ended.state.message}" if ended.state.message else ended.state.name)
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
