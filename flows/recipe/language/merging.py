"""Make one recipe of several: the dispatcher starts them together. None of them is changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flows.recipe.language.files import parse_json
from flows.recipe.language.recipe import START, InvalidRecipe, Recipe, recipe_from_document
from flows.recipe.language.validation import validate
from flows.recipe.language.values import copied

RecipeLike = Recipe | Mapping[Any, Any] | str | None
"""A recipe, its document or its JSON text; empty ones and None stand for no recipe."""


def merge(*recipes: RecipeLike) -> Recipe:
    """Merge recipes in order: the first keeps its node numbers, the others' follow after them, links with them.

    Equal nodes stay two nodes. `start` and `error` lists are joined.

    Raises
    ------
    RecipeError
        One of them breaks a rule, or there is none at all.
    """
    nodes: dict[int, Mapping[str, Any]] = {}
    start: list[tuple[int, Any]] = []
    error: list[int] = []
    for recipe in filter(None, map(_validated, recipes)):
        numbers = _new_numbers(recipe, nodes)
        nodes |= {numbers[number]: _renumbered(node, numbers) for number, node in recipe.nodes.items()}
        start += [(numbers[number], copied(payload)) for number, payload in recipe.start]
        error += [numbers[number] for number in recipe.error]
    if not nodes:
        raise InvalidRecipe([f"No recipe defined: expected one with nodes and '{START}', seen empty ones only"])
    return Recipe(nodes, tuple(start), tuple(error))


def _validated(recipe: RecipeLike) -> Recipe | None:
    """Return a valid recipe, or None for none."""
    if isinstance(recipe, str):
        recipe = parse_json(recipe) if recipe.strip() else None
    if not recipe or recipe == Recipe({}, ()):
        return None
    valid = recipe if isinstance(recipe, Recipe) else recipe_from_document(recipe)
    validate(valid)
    return valid


def _new_numbers(recipe: Recipe, taken: Mapping[int, Any]) -> dict[int, int]:
    # As Zocalo numbers them: from the highest number on, in the order in which the file has the nodes
    if not taken:
        return {number: number for number in recipe.nodes}
    return dict(zip(recipe.nodes, range(max(1, *taken) + 1, max(1, *taken) + 1 + len(recipe.nodes)), strict=True))


def _renumbered(node: Mapping[str, Any], numbers: Mapping[int, int]) -> dict[str, Any]:
    links = {key: _renumbered_links(node[key], numbers) for key in ("output", "error") if key in node}
    renumbered: dict[str, Any] = copied({**node, **links})
    return renumbered


def _renumbered_links(links: Any, numbers: Mapping[int, int]) -> Any:
    if isinstance(links, dict):
        return {name: _renumbered_links(below, numbers) for name, below in links.items()}
    if isinstance(links, (list, tuple)):
        return [_renumbered_links(link, numbers) for link in links]
    return None if links is None else numbers[links]
