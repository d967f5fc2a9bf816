"""`plaza ispyb commands`: what can be written to ISPyB, as the page of the documentation."""

from __future__ import annotations

import types
from collections.abc import Iterator
from datetime import datetime
from inspect import getdoc
from textwrap import fill
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin

import typer
from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo

from flows.display_text import markdown_cell

INTRODUCTION = """\
# ISPyB's commands

What the step `store_in_ispyb` (queues `ispyb_connector` and `ispyb_pia`) does for a recipe, by the parameter
`ispyb_command`; `plaza ispyb run` does it by hand. This page is what `plaza ispyb commands` prints.

Parameters stand in the message, else in the recipe; those in bold are needed. Texts may hold `$name` or `${{name}}`,
filled in from the message's environment; `store_result` names the value that a command returns for later steps. Names
may be spelt in any case, with or without `_` and `-`; of several spellings the message's counts. None, the empty text
and `None` are as good as absent.

Numbers may come as text. Times are ISO 8601, or as databases and C's `ctime` write them, and local. Text that is too
long for its column is cut, with a warning, but for paths: those are refused. Choices are taken in any case. Ids must be
those of rows that are there; of per-image results, which come by the thousand, dcids aren't looked up. Whatever is
refused says so with the command, its ids and the column, and nothing of the message is written.

What counts is written, and what doesn't gives way, with a warning in the log that names table and column:

- A measured or computed number that is NaN or infinite is left out (NULL). One that is the id of a row, or that is
  needed, is refused; so is one that is too large for its column, and a text that is no number.
- A time whose year, month or day is zero, as MySQL writes what isn't known (`0000-00-00 00:00:00`, `2026-00-00`), is
  left out. Any other text that is no time is refused.
- Texts that only people read are written with the characters that the database has: where a column holds latin1, `σ`
  becomes `sigma`, `ř` becomes `r`, `≥` becomes `>=`, and `?` stands for what has nothing alike. NULs are left out.
{ornaments}
- All other texts are written as they are or refused: paths, names, space groups, recipes and parameters of jobs.

Commands that insert are done once for a message, however often it comes (`plaza_ledger`); those that change a row leave
what isn't given as it is.
"""
KINDS = {int: "integer", float: "number", str: "text", bool: "yes or no", datetime: "time"}


def commands() -> None:
    """Describe all commands that write to ISPyB, in Markdown."""
    typer.echo(commands_page(), nl=False)


def commands_page() -> str:
    """Return the documentation's page of commands, made of their models."""
    from tasks.ispyb_access.writing.commands import COMMANDS
    from tasks.ispyb_access.writing.composite_commands import MODELS
    from tasks.ispyb_access.writing.rows.leniency import ORNAMENTS

    names = f"These are the columns {', '.join(f'`{name}`' for name in sorted(ORNAMENTS))}."
    lines = [INTRODUCTION.format(ornaments=fill(names, 120, initial_indent="  ", subsequent_indent="  "))]
    for name in sorted(MODELS):
        lines += [f"## {name}", ""]
        lines += [_summary(COMMANDS[name].write if name in COMMANDS else MODELS[name]), ""]
        lines += ["| parameter | | column | |", "|---|---|---|---|", *_rows(MODELS[name]), ""]
    return "\n".join(lines)


def _summary(documented: object) -> str:
    return (getdoc(documented) or "").partition("\n\n")[0].replace("\n", " ")


def _rows(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield a row for each parameter; those of a model within follow it."""
    from tasks.ispyb_access.writing.rows.row_parameters import RowParameters

    columns = model.columns() if issubclass(model, RowParameters) else {}
    for field_name, field in model.model_fields.items():
        name = f"{prefix}{_name(field_name, field)}"
        column = f"`{columns[field_name]}`" if field_name in columns else ""
        shown = f"**`{name}`**" if field.is_required() else f"`{name}`"
        yield f"| {shown} | {_kind(field.annotation)} | {column} | {_about(field)} |"
        for inner, is_list in _models(field.annotation):
            yield from _rows(inner, f"{name}[]." if is_list else f"{name}.")


def _name(field_name: str, field: FieldInfo) -> str:
    choices = field.validation_alias.choices if isinstance(field.validation_alias, AliasChoices) else [field.alias]
    return str(choices[0] or field_name)


def _about(field: FieldInfo) -> str:
    default = field.default
    is_told = not field.is_required() and default not in (None, (), {}) and not isinstance(default, BaseModel)
    text = {True: "yes", False: "no"}.get(default, default) if isinstance(default, bool) else default
    parts = [field.description or "", f"{text} if it isn't given" if is_told else ""]
    return markdown_cell("; ".join(part for part in parts if part).replace("<", r"\<"))


def _kind(annotation: Any) -> str:
    """Say in a word what a parameter is."""
    origin, inner = get_origin(annotation), [one for one in get_args(annotation) if one is not type(None)]
    if origin is Annotated:
        return _kind(inner[0])
    if isinstance(annotation, NewType):  # the ids of blocks.identifiers
        return _kind(annotation.__supertype__)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_kind(one) for one in inner))
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in inner)
    if origin in (tuple, list):
        items = [one for one in inner if one is not Ellipsis]
        return f"list of {_kind(items[0])}" if len(set(items)) == 1 else "list"
    return KINDS.get(annotation, "object")


def _models(annotation: Any, is_list: bool = False) -> Iterator[tuple[type[BaseModel], bool]]:
    """Yield the models within an annotation, and whether there may be several."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, is_list
    for one in get_args(annotation):
        yield from _models(one, is_list or get_origin(annotation) in (tuple, list))
