"""`plaza step run`: one recipe node by hand, without a server."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from blocks.errors import PlazaError, RecipeError
from flows.display_text import printable, shortened
from flows.recipe.language.files import parse_json, read_text
from flows.recipe.language.values import check_value, copied

MOST_SHOWN = 4000  # characters of a message, or of why it is refused

app = typer.Typer(help="Run single steps of a recipe by hand.", no_args_is_help=True)


@app.callback()
def steps() -> None:
    """Run single steps of a recipe by hand."""


@app.command()
def run(
    node: Annotated[Path, typer.Option(help="JSON file of the recipe node: queue, parameters, gridinfo, output …")],
    messages: Annotated[
        Path | None, typer.Option(help="File with one JSON payload a line; without it, one empty message.")
    ] = None,
) -> None:
    """Run one node of a recipe on some messages and print what it sends, one JSON object a line.

    Exits with 0 when all messages were handled, with 1 when one was refused or left undone (why: on standard error).
    """
    try:
        handled = asyncio.run(_run(_read_node(node), _read_payloads(messages)))
    except PlazaError as error:
        typer.echo(f"plaza step run: {error}", err=True)
        raise typer.Exit(1) from error
    raise typer.Exit(0 if handled else 1)


def _read_node(path: Path) -> dict[str, Any]:
    try:
        node = parse_json(read_text(path))
        check_value(node)
    except RecipeError as error:
        raise RecipeError(f"node file {path} can't be read as JSON: {error}") from error
    if not isinstance(node, dict):
        raise RecipeError(f"node file {path}: expected a JSON object, seen a {type(node).__name__}")
    return node


def _read_payloads(path: Path | None) -> list[Any]:
    if path is None:
        return [{}]
    payloads = []
    try:
        # Not splitlines(): JSON text may hold separators of other kinds, such as U+2028, as they are.
        lines = read_text(path).split("\n")
    except RecipeError as error:
        raise RecipeError(f"message file {path} can't be read: {error}") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                payloads.append(_checked(parse_json(line)))
            except RecipeError as error:
                raise RecipeError(f"message file {path}, line {number}: {error}") from error
    return payloads


def _checked(payload: Any) -> Any:
    copied(payload)  # not check_value: a step may be tried on NaN
    return payload


async def _run(node: dict[str, Any], payloads: Iterable[Any]) -> bool:
    """Run the node; return whether every message was handled."""
    from flows.resources import SiteResources
    from tasks.step import BY_HAND, Message, StepContext
    from tasks.step.registry import load_step, queue_of
    from tasks.step.runner import StepOutcome, run_step, sends_of

    step, outcome = load_step(queue_of(1, node)), StepOutcome()

    def refuse(message: Message, error: Exception) -> None:
        told = len(outcome.refused)
        outcome.refuse(message, error)
        if len(outcome.refused) > told:
            payload = shortened(json.dumps(message.payload), MOST_SHOWN)
            reason = shortened(printable(str(error)), MOST_SHOWN)
            typer.echo(f"refused {payload}: {type(error).__name__}: {reason}", err=True)

    async def inbox() -> AsyncIterator[Message]:
        for number, payload in enumerate(payloads, 1):
            yield Message(payload, {"ID": BY_HAND}, number, time.time())

    async with SiteResources() as resources:
        context = StepContext(
            node, BY_HAND, resources, refuse, leave_undone=outcome.leave_undone, note=outcome.notes.add
        )
        async for result in run_step(step, inbox(), context):
            for send in sends_of(result):
                sys.stdout.write(json.dumps({"output": send.output, "payload": send.payload}) + "\n")
            sys.stdout.flush()
    for reason, count in Counter(reason for _, reason in outcome.undone).items():
        typer.echo(f"left undone {count} message{'s' * (count != 1)}: {reason}", err=True)
    for line in outcome.notes.lines():
        typer.echo(f"noted {printable(line)}", err=True)
    return not (outcome.refused or outcome.undone)
