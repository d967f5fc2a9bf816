"""`plaza recipe show`: a recipe as a drawing, filled in or not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.whole_numbers import integer

if TYPE_CHECKING:
    from flows.recipe.language.recipe import Recipe

UNKNOWN_RUN = "{guid}"  # what it will be is known when it runs


def show(
    name: Annotated[str, typer.Argument(help="Name of an installed recipe, or a recipe file.", show_default=False)],
    dcid: Annotated[
        int | None, typer.Option(help="Fill the recipe in for this data collection of ISPyB.", parser=integer)
    ] = None,
    svg: Annotated[Path | None, typer.Option(help="Draw it into this file too, or - for standard output.")] = None,
) -> None:
    """Draw a recipe: its steps, what they're told, and where their messages go."""
    from rich.console import Console

    from flows.recipe.drawing import draw_text, to_svg
    from flows.recipe.language.validation import read_recipe

    recipe = read_recipe(_find(name))
    if dcid is not None:
        recipe = asyncio.run(_filled(recipe, dcid))
    if svg is None or str(svg) != "-":
        Console(highlight=False).print(draw_text(recipe))
    if svg is not None:
        _write(svg, to_svg(recipe))


def _find(name: str) -> Path:
    from blocks.errors import RecipeError
    from blocks.settings import get_settings
    from flows.recipe.catalogue import recipe_files

    installed = recipe_files()
    if name in installed:
        return installed[name]
    if name == "-" or Path(name).is_file():
        return Path(name)
    raise RecipeError(
        f"no recipe {name!r} in {get_settings().recipe_directory}, and no such file; there are: {', '.join(installed)}"
    )


async def _filled(recipe: Recipe, dcid: int) -> Recipe:
    from blocks.identifiers import parse_dcid
    from flows.recipe.language.substitution import fill_recipe
    from flows.recipe.parameters import recipe_parameters
    from flows.resources import SiteResources

    async with SiteResources() as resources:
        return fill_recipe(recipe, await recipe_parameters(parse_dcid(dcid), {}, UNKNOWN_RUN, resources))


def _write(file: Path, svg: str) -> None:
    from blocks.errors import ConfigurationError

    if str(file) == "-":
        typer.echo(svg, nl=False)
        return
    try:
        file.write_text(svg, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"the drawing can't be written to {file}: {error.strerror or error}") from error
