"""The recipes at hand: a flow for every file of the recipe folder, none of them written by hand.

`flows.recipe.catalogue.<name>` is the flow of `<name>.json`, which is how deployments name it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from blocks.settings import get_settings

if TYPE_CHECKING:
    from prefect import Flow


def recipe_files() -> dict[str, Path]:
    """Return the recipe files by recipe name."""
    return {path.stem: path for path in sorted(get_settings().recipe_directory.glob("*.json"))}


def __getattr__(name: str) -> Flow[..., Any]:
    path = get_settings().recipe_directory / f"{name}.json"
    if name.startswith("__") or not path.is_file():
        raise AttributeError(f"no recipe {name!r} in {path.parent}; there are: {', '.join(recipe_files())}")
    from flows.recipe.flow import recipe_flow

    return recipe_flow(name, path)
