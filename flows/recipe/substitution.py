"""Fill a recipe's placeholders: `{name}`, `{name[key][0]}`, `{name:04d}`, `{$REPLACE:name}`.

Unknown names stay as they are, since steps fill some themselves (`{visit_id}` of the archiver, `{payload}`
of the mailer); a known name whose key or index is missing is an error, since it would otherwise travel on as text.
What has been filled in isn't looked through for placeholders again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from string import Formatter
from typing import Any

from blocks.errors import RecipeError
from flows.recipe.language import ERROR, Recipe
from flows.recipe.values import copied, shown

_REPLACE = re.compile(r"\{\$REPLACE:([^{}]+)\}")
_FIELD = re.compile(r"(?P<name>[^.\[]*)(?P<steps>(?:\[[^\]]+\]|\.[^.\[]+)*)")
_STEP = re.compile(r"\[([^\]]+)\]|\.([^.\[]+)")
_TOO_WIDE = re.compile(r"\d{5}")
_FORMATTER = Formatter()


def fill_recipe(recipe: Recipe, parameters: Mapping[str, Any]) -> Recipe:
    """Return the recipe with the placeholders in its nodes and start payloads filled.

    Raises
    ------
    RecipeError
        A placeholder is malformed, or a key or index of a known parameter is missing, or two keys become the same;
        the message names the node.
    """
    nodes = {number: _fill_node(number, node, parameters) for number, node in recipe.nodes.items()}
    start = tuple((node, _fill_named(f"'start' of node {node}", payload, parameters)) for node, payload in recipe.start)
    return Recipe(nodes, start, recipe.error)


def _fill_node(number: int, node: Mapping[str, Any], parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    filled = _fill_named(f"node {number}", node, parameters)
    for links in ("output", ERROR):
        if links in filled and links not in node:  # they would be links that nobody has validated
            raise RecipeError(f"node {number}: a placeholder becomes the key '{links}': write links as they are")
    return filled


def _fill_named(place: str, value: Any, parameters: Mapping[str, Any]) -> Any:
    try:
        return fill(value, parameters)
    except RecipeError as error:
        raise RecipeError(f"{place}: {error}") from error


def fill(value: Any, parameters: Mapping[str, Any]) -> Any:
    """Fill the placeholders in every string of a JSON value: keys, values, list items.

    Raises
    ------
    RecipeError
        See `fill_recipe`.
    """
    try:
        return _fill(value, parameters)
    except RecursionError as error:
        raise RecipeError("nested too deeply") from error


def _fill(value: Any, parameters: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        return _fill_text(value, parameters) if "{" in value or "}" in value else value
    if isinstance(value, Mapping):
        return _fill_object(value, parameters)
    if isinstance(value, list):
        return [_fill(item, parameters) for item in value]
    if isinstance(value, tuple):
        return tuple(_fill(item, parameters) for item in value)
    return value


def _fill_object(value: Mapping[Any, Any], parameters: Mapping[str, Any]) -> dict[Any, Any]:
    filled: dict[Any, Any] = {}
    for key, below in value.items():
        new = _fill_key(key, parameters)
        if new in filled:  # Zocalo drops the first of them without a word
            raise RecipeError(f"key {shown(key)}: becomes {shown(new)}, as another key does: one of them would be lost")
        filled[new] = _fill(below, parameters)
    return filled


def _fill_key(key: Any, parameters: Mapping[str, Any]) -> Any:
    if not isinstance(key, str):
        return key
    new = _fill(key, parameters)
    if isinstance(new, int) and not isinstance(new, bool):
        return str(new)  # as JSON writes it
    if not isinstance(new, str):
        raise RecipeError(f"key {shown(key)}: expected text to take its place, seen {shown(new)}")
    return new


def _fill_text(text: str, parameters: Mapping[str, Any]) -> Any:
    try:
        if whole := _REPLACE.fullmatch(text):
            return _replacement(whole[1], parameters)
        return _format(text, parameters)
    except _FAULTS as error:
        raise RecipeError(f"placeholders in {shown(text)} can't be filled: {error}") from error


# What formatting a parameter can come to: {x:d} of a text, {x.y} of a number, {x:c} of a huge one …
_FAULTS = (RecipeError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, MemoryError)


def _format(text: str, parameters: Mapping[str, Any]) -> str:
    return "".join(
        part if isinstance(part, str) else _fill_placeholder(part, parameters) for part in _parsed_text(text)
    )


@dataclass(frozen=True, slots=True)
class _Step:
    """A way into a parameter: `[key]`, `[0]` or `.attribute`."""

    key: str
    index: int | None
    is_attribute: bool

    def follow(self, value: Any) -> Any:
        if self.is_attribute:
            return getattr(value, self.key)
        if isinstance(value, Mapping):
            return value[self.key_in(value)]
        try:
            return value[self.key if self.index is None else self.index]
        except (LookupError, TypeError) as error:
            size = f" of {len(value)}" if hasattr(value, "__len__") else ""
            raise LookupError(f"a {type(value).__name__}{size} has no [{self.key}]") from error

    def key_in(self, value: Mapping[Any, Any]) -> Any:
        """Return the key as an object has it: numbers may have become text on their way through JSON."""
        if self.index is not None and self.index in value:
            return self.index
        if self.key not in value:
            raise _MissingKey(f"there is no key {self.key!r}; keys: {shown(list(value))[1:-1]}")
        return self.key


class _MissingKey(LookupError):
    """An object has no such key."""


@dataclass(frozen=True, slots=True)
class _Placeholder:
    """A placeholder, taken apart."""

    field: str
    name: str
    steps: tuple[_Step, ...]
    conversion: str | None
    spec: str


@lru_cache(maxsize=4096)
def _parsed_text(text: str) -> tuple[str | _Placeholder, ...]:
    """Take a text apart; the same ones are filled for each data collection.

    Raises
    ------
    ValueError
        A brace has no partner, or a placeholder is malformed.
    """
    parts: list[str | _Placeholder] = []
    for literal, field, spec, conversion in _FORMATTER.parse(text):
        if literal:
            parts.append(literal)
        if field is not None:
            parts.append(_parsed_placeholder(field, spec or "", conversion))
    return tuple(parts)


def _parsed_placeholder(field: str, spec: str, conversion: str | None) -> _Placeholder:
    if field == "$REPLACE":
        raise ValueError("{$REPLACE:name[key]} must be all of the text, with a name in it")
    name, steps = _parsed_field(field)
    if conversion not in (None, "r", "s", "a"):
        raise ValueError(f"unknown conversion !{conversion}; there are !r, !s and !a")
    return _Placeholder(field, name, steps, conversion, spec)


@lru_cache(maxsize=4096)
def _parsed_field(field: str) -> tuple[str, tuple[_Step, ...]]:
    match = _FIELD.fullmatch(field)
    if match is None:
        raise ValueError(f"{{{field}}}: expected a name followed by [key] or [index]")
    name = match["name"]
    if not name or name.isdecimal():
        raise ValueError(f"{{{field}}} has no name; a literal brace is written twice")
    return name, tuple(_parsed_steps(match["steps"]))


def _parsed_steps(steps: str) -> Iterator[_Step]:
    for match in _STEP.finditer(steps):
        key, attribute = match.groups()
        if attribute is None:
            yield _Step(key, int(key) if key.isdecimal() else None, is_attribute=False)
        else:
            yield _Step(attribute, None, is_attribute=True)


def _fill_placeholder(part: _Placeholder, parameters: Mapping[str, Any]) -> str:
    if part.name not in parameters:
        return _left_as_it_is(part, parameters)
    value = parameters[part.name]
    for step in part.steps:
        value = step.follow(value)
    if part.conversion is None and not part.spec:
        return str(value)
    spec = _format(part.spec, parameters)
    if _TOO_WIDE.search(spec):  # or {name:9999999999} would fill the memory
        raise ValueError(f"format {spec!r} is wider than 9999")
    return format(_FORMATTER.convert_field(value, part.conversion), spec)


def _left_as_it_is(part: _Placeholder, parameters: Mapping[str, Any]) -> str:
    if part.spec or any(step.is_attribute for step in part.steps):
        known = shown(sorted(map(str, parameters)))[1:-1]
        raise ValueError(f"{part.name!r} is unknown, so it can't be formatted; known: {known}")
    return f"{{{part.field}!{part.conversion}}}" if part.conversion else f"{{{part.field}}}"


def _replacement(field: str, parameters: Mapping[str, Any]) -> Any:
    """Copy the structure at `name[key][0]`; None where a name or key is missing."""
    name, steps = _parsed_field(field)
    if name not in parameters:
        return None
    value = parameters[name]
    for step in steps:
        if step.is_attribute:
            raise ValueError(f"{{$REPLACE:{field}}}: expected a name followed by [key] or [index]")
        try:
            value = step.follow(value)
        except _MissingKey:
            return None
    return copied(value)
