"""The recipes at hand: a flow for every file of the recipe folder, none of them written by hand.

`flows.recipe.catalogue.<name>` is the flow of `<name>.json`, which is how deployments name it (see `entrypoint`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from blocks.settings import get_settings
from flows.recipe.language.names import SUFFIX, name_fault, recipe_name

if TYPE_CHECKING:
    from prefect import Flow


def recipe_files() -> dict[str, Path]:
    """Return the recipe files by recipe name."""
    return {recipe_name(path): path for path in sorted(get_settings().recipe_directory.glob(f"*{SUFFIX}"))}


def entrypoint(name: str) -> str:
    """Return where Prefect finds a recipe's flow.

    Prefect takes a dot or a colon for the end of the module's name, so they are written as in addresses: `per.image` is
    `per%2Eimage`. So is the start of a name that means something else here.
    """
    attribute = quote(name, safe="", errors="surrogateescape").replace(".", "%2E")
    if attribute.startswith("_") or attribute in globals():
        attribute = f"%{ord(attribute[0]):02X}{attribute[1:]}"
    return f"{__name__}.{attribute}"


def __getattr__(attribute: str) -> Flow[..., Any]:
    name, folder = unquote(attribute), get_settings().recipe_directory
    path = folder / f"{name}{SUFFIX}"
    if attribute.startswith("__") or name_fault(name) or not path.is_file():
        raise AttributeError(f"no recipe {name!r} in {folder}; there are: {', '.join(recipe_files())}")
    from flows.recipe.flow import recipe_flow

    return recipe_flow(name, path)
