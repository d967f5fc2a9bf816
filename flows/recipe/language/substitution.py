"""Fill a recipe's placeholders: `{name}`, `{name[key][0]}`, `{name:04d}`, `{$REPLACE:name}`.

Unknown names stay as they are, since steps fill some themselves (`{visit_id}` of the archiver, `{payload}`
of the mailer); a known name whose key or index is missing is an error, since it would otherwise travel on as text.
What has been filled in isn't looked through for placeholders again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blocks.errors import RecipeError
from flows.recipe.language.placeholders import Parameters, fill_text
from flows.recipe.language.recipe import ERROR, Recipe
from flows.recipe.language.values import shown


def fill_recipe(recipe: Recipe, parameters: Mapping[str, Any]) -> Recipe:
    """Return the recipe with the placeholders in its nodes and start payloads filled.

    Raises
    ------
    RecipeError
        A placeholder is malformed, or a key or index of a known parameter is missing, or two keys become the same;
        the message names the node.
    """
    known = Parameters(parameters)
    nodes = {number: _fill_node(number, node, known) for number, node in recipe.nodes.items()}
    start = tuple((node, _fill_named(f"'start' of node {node}", payload, known)) for node, payload in recipe.start)
    return Recipe(nodes, start, recipe.error)


def fill(value: Any, parameters: Mapping[str, Any]) -> Any:
    """Fill the placeholders in every string of a JSON value: keys, values, list items.

    Raises
    ------
    RecipeError
        See `fill_recipe`.
    """
    return _fill_all(value, Parameters(parameters))


def _fill_node(number: int, node: Mapping[str, Any], known: Parameters) -> Mapping[str, Any]:
    filled: Mapping[str, Any] = _fill_named(f"node {number}", node, known)
    for links in ("output", ERROR):
        if links in filled and links not in node:  # they would be links that nobody has validated
            raise RecipeError(f"node {number}: a placeholder becomes the key '{links}': write links as they are")
    return filled


def _fill_named(place: str, value: Any, known: Parameters) -> Any:
    try:
        return _fill_all(value, known)
    except RecipeError as error:
        raise RecipeError(f"{place}: {error}") from error


def _fill_all(value: Any, known: Parameters) -> Any:
    try:
        return _fill(value, known)
    except RecursionError as error:
        raise RecipeError("nested too deeply") from error


def _fill(value: Any, known: Parameters) -> Any:
    if isinstance(value, str):
        return fill_text(value, known) if "{" in value or "}" in value else value
    if isinstance(value, dict):
        return _fill_object(value, known)
    if isinstance(value, list):
        return [_fill(item, known) for item in value]
    if isinstance(value, tuple):
        return tuple(_fill(item, known) for item in value)
    return value


def _fill_object(value: dict[Any, Any], known: Parameters) -> dict[Any, Any]:
    filled = {
        _fill_key(key, known) if isinstance(key, str) and ("{" in key or "}" in key) else key: _fill(below, known)
        for key, below in value.items()
    }
    if len(filled) < len(value):  # Zocalo drops the first of them without a word
        raise RecipeError(f"keys {shown(list(value))[1:-1]}: two of them become the same one")
    return filled


def _fill_key(key: str, known: Parameters) -> str:
    new = fill_text(key, known)
    if isinstance(new, str):
        return new
    if isinstance(new, int) and not isinstance(new, bool):
        return str(new)  # as JSON writes it
    raise RecipeError(f"key {shown(key)}: expected text to take its place, seen {shown(new)}")
