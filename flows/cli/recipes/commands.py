"""`plaza recipe …`: look at recipe files and what becomes of them, without a server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blocks.errors import RecipeError
from flows.cli.recipes import check as recipe_check
from flows.cli.recipes import show as recipe_show

if TYPE_CHECKING:
    from flows.recipe.language.recipe import Recipe

app = typer.Typer(help="Check, show, fill and merge recipes; needs no server.", no_args_is_help=True)
app.command()(recipe_check.check)
app.command()(recipe_show.show)

File = Annotated[Path, typer.Argument(help="Recipe file; - for standard input.", show_default=False)]


@app.callback()
def recipes() -> None:
    """Check, show, fill and merge recipes; needs no server."""


@app.command()
def fill(
    file: File,
    parameters: Annotated[
        Path, typer.Option(help="JSON file with an object of parameters by name; - for standard input.")
    ],
) -> None:
    """Print a recipe with its placeholders filled."""
    from flows.recipe.language.files import STANDARD_INPUT, read_parameters_file
    from flows.recipe.language.substitution import fill_recipe
    from flows.recipe.language.validation import read_recipe

    if file == parameters == STANDARD_INPUT:
        raise RecipeError("the recipe and its parameters can't both be standard input: name a file for one of them")
    recipe, known = read_recipe(file), read_parameters_file(parameters)
    try:
        filled = fill_recipe(recipe, known).to_json(indent=2)
    except RecipeError as error:
        raise RecipeError(f"{file}: {error}") from error
    typer.echo(filled)


@app.command()
def merge(
    files: Annotated[list[Path], typer.Argument(help="Recipe files; - for standard input.", show_default=False)],
) -> None:
    """Print the recipe that several make together, the later ones' nodes renumbered; an empty one adds nothing."""
    from flows.recipe.language.merging import merge as merge_recipes

    typer.echo(merge_recipes(*map(_read_unless_empty, files)).to_json(indent=2))


def _read_unless_empty(file: Path) -> Recipe | None:
    from flows.recipe.language.files import read_text
    from flows.recipe.language.validation import validated_recipe

    text = read_text(file)  # {} and null are no recipe to Zocalo's merge; anything else has to be one
    return None if re.fullmatch(r"\s*(\{\s*\}|null)\s*", text) else validated_recipe(text, file)


app.command()(recipe_check.schema)
