"""`plaza ispyb run`: put something right in ISPyB by hand."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from blocks.errors import MessageRefused, RecipeError
from flows.cli.ispyb.by_hand import fulfil_by_hand
from flows.cli.ispyb.option import IspybURL
from flows.recipe.language.files import parse_json, read_text
from flows.recipe.language.values import copied


def run(
    commands: Annotated[
        Path,
        typer.Argument(
            metavar="COMMANDS.json", help="File with a list of commands; -: standard input.", allow_dash=True
        ),
    ],
    ispyb: IspybURL = None,
) -> None:
    """Carry out a list of ISPyB commands in one transaction, and print each result as a line of JSON.

    The list is as multipart_message takes it: [{"ispyb_command": …, its parameters, "store_result": …}, …]. If a
    command fails nothing is written. Run twice, it's written twice: the file has no name in the ledger.
    """
    from tasks.ispyb_access.writing.composite_commands import MULTIPART
    from tasks.ispyb_access.writing.requests import Request

    items = _read_commands(commands)
    outcome = fulfil_by_hand(Request(MULTIPART, ({"ispyb_command_list": items},), {}), ispyb)
    for item, value in zip(items, outcome.values, strict=True):
        typer.echo(json.dumps({"ispyb_command": item["ispyb_command"], "result": value}))
    for announcement in outcome.announcements:
        payload = json.dumps(announcement.payload)
        typer.echo(f"plaza: {payload} isn't sent on {announcement.output!r}, since no recipe runs", err=True)


def _read_commands(path: Path) -> list[Any]:
    name = "standard input" if str(path) == "-" else path
    try:
        content = parse_json(read_text(path))
        copied(content)
    except RecipeError as error:
        raise MessageRefused(f"{name} can't be read as JSON: {error}") from error
    items = content.get("ispyb_command_list") if isinstance(content, Mapping) else content
    if not isinstance(items, list):
        raise MessageRefused(
            f"{name}: expected a list of commands, or an object with ispyb_command_list; seen {reprlib.repr(content)}"
        )
    return items
