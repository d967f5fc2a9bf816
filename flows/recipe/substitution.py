"""Fill a recipe's placeholders: `{name}`, `{name[key][0]}`, `{name:04d}`, `{$REPLACE:name}`.

Unknown names stay as they are, since steps fill some themselves (`{visit_id}` of the archiver, `{payload}`
of the mailer); a known name whose key or index is missing is an error, since it would otherwise travel on as text.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from string import Formatter
from typing import Any

from blocks.errors import RecipeError
from flows.recipe.language import Recipe

_REPLACE = re.compile(r"\{\$REPLACE:([^{}]+)\}")
_TOP_NAME = re.compile(r"[^.\[]*")
_KEYS = re.compile(r"\[([^\[\]]+)\]")
_FORMATTER = Formatter()


def fill_recipe(recipe: Recipe, parameters: Mapping[str, Any]) -> Recipe:
    """Return the recipe with the placeholders in its nodes and start payloads filled.

    Raises
    ------
    RecipeError
        A placeholder is malformed, or a key or index of a known parameter is missing; the message names the node.
    """
    nodes = {number: _fill_named(f"node {number}", node, parameters) for number, node in recipe.nodes.items()}
    start = tuple((node, _fill_named(f"'start' of node {node}", payload, parameters)) for node, payload in recipe.start)
    return Recipe(nodes, start, recipe.error)


def _fill_named(place: str, value: Any, parameters: Mapping[str, Any]) -> Any:
    try:
        return fill(value, parameters)
    except RecipeError as error:
        raise RecipeError(f"{place}: {error}") from error


def fill(value: Any, parameters: Mapping[str, Any]) -> Any:
    """Fill the placeholders in every string of a JSON value: keys, values, list items."""
    if isinstance(value, str):
        return _fill_text(value, parameters)
    if isinstance(value, Mapping):
        return {_fill_key(key, parameters): fill(below, parameters) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(fill(item, parameters) for item in value)
    return value


def _fill_key(key: Any, parameters: Mapping[str, Any]) -> Any:
    filled = fill(key, parameters)
    if isinstance(key, str) and not isinstance(filled, str):
        raise RecipeError(f"key {key!r}: expected text to take its place, seen {filled!r}")
    return filled


def _fill_text(text: str, parameters: Mapping[str, Any]) -> Any:
    if "{" not in text and "}" not in text:
        return text
    if whole := _REPLACE.fullmatch(text):
        return _replacement(whole[1], parameters)
    try:
        return "".join(
            literal + ("" if field is None else _fill_field(field, spec or "", conversion, parameters))
            for literal, field, spec, conversion in _FORMATTER.parse(text)
        )
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        reason = f"missing key or index {error}" if isinstance(error, LookupError) else str(error)
        raise RecipeError(f"placeholders in {text!r} can't be filled: {reason}") from error


def _fill_field(field: str, spec: str, conversion: str | None, parameters: Mapping[str, Any]) -> str:
    name = _TOP_NAME.match(field)[0]  # type: ignore[index]  # the pattern matches the empty string
    if not name or name.isdigit():
        raise ValueError(f"'{{{field}}}' has no name; a literal brace is written twice")
    if name == "$REPLACE":
        raise ValueError("{$REPLACE:name[key]} must be all of the text, with a name in it")
    if name not in parameters:
        if spec or "." in _KEYS.sub("", field):
            raise ValueError(f"{name!r} is unknown, so it can't be formatted; known: {', '.join(sorted(parameters))}")
        return f"{{{field}!{conversion}}}" if conversion else f"{{{field}}}"
    value, _ = _FORMATTER.get_field(field, (), parameters)
    return format(_FORMATTER.convert_field(value, conversion), _fill_text(spec, parameters))


def _replacement(path: str, parameters: Mapping[str, Any]) -> Any:
    """Copy the structure at `name[key][0]`; None where a name or key is missing."""
    name = _TOP_NAME.match(path)[0]  # type: ignore[index]
    keys = _KEYS.findall(path)
    if path != name + "".join(f"[{key}]" for key in keys):
        raise RecipeError(f"{{$REPLACE:{path}}}: expected a name followed by [key] or [index]")
    value: Any = parameters.get(name)
    for key in keys:
        if isinstance(value, list | tuple):
            try:
                value = value[int(key)]
            except (ValueError, IndexError) as error:
                raise RecipeError(f"{{$REPLACE:{path}}}: the list has {len(value)} items, no [{key}]") from error
        elif isinstance(value, Mapping):
            value = value.get(key, value.get(int(key)) if key.lstrip("-").isdigit() else None)
        elif value is not None:
            raise RecipeError(f"{{$REPLACE:{path}}}: a {type(value).__name__} has no [{key}]")
    return copy.deepcopy(value)
