"""What stands in braces in a recipe's texts, and what takes its place.

Texts are formatted as Python's `str.format` does it, with one difference: a name that isn't known stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from string import Formatter
from typing import Any, NamedTuple

from blocks.errors import RecipeError
from flows.recipe.language.values import copied, shown

_REPLACE = re.compile(r"\{\$REPLACE:([^{}]+)\}")
_FIELD = re.compile(r"(?P<name>[^.\[]*)(?P<accessors>(?:\[[^\]]+\]|\.[^.\[]+)*)")
_NAME = re.compile(r"[^.\[]*")
_ACCESSOR = re.compile(r"\[([^\]]+)\]|\.([^.\[]+)")
_FORMATTED = re.compile(r"\{[^{}]*[:!]")
_TOO_WIDE = re.compile(r"\d{5}")
_FORMATTER = Formatter()

# What formatting a parameter can come to: {x:d} of a text, {x.y} of a number, {x:c} of a huge one …
_FAULTS = (RecipeError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, MemoryError)


class Parameters(dict[str, Any]):
    """Parameters by name; to Python's formatting, a name that isn't known stands for itself."""

    def __missing__(self, name: str) -> _Verbatim:
        if name in ("", "$REPLACE"):
            raise KeyError(name)
        return _Verbatim(f"{{{name}}}")


class _Verbatim(str):
    """An unknown name in its braces; a key that follows it is taken in."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> _Verbatim:
        if isinstance(key, int):
            raise LookupError("only the text knows how the number was written")
        return _Verbatim(f"{str.__getitem__(self, slice(None, -1))}[{key}]}}")

    def __getattribute__(self, name: str) -> Any:  # not __getattr__: a str has attributes that would be found
        raise AttributeError(f"an unknown name has no {name}")


def names_in(value: Any) -> Iterator[str]:
    """Yield the names of the parameters that fill the placeholders of a JSON value, in keys and values at any depth."""
    if isinstance(value, str):
        yield from _names_in_text(value)
    elif isinstance(value, Mapping):
        for key, below in value.items():
            yield from names_in(key)
            yield from names_in(below)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from names_in(item)


def _names_in_text(text: str) -> Iterator[str]:
    if "{" not in text:
        return
    with suppress(ValueError):  # it's malformed, which stops the run
        for _, field, spec, _ in _FORMATTER.parse(text):
            if field is None:
                continue
            yield _NAME.match(spec or "" if field == "$REPLACE" else field)[0]  # type: ignore[index]  # it may be empty
            yield from _names_in_text(spec or "")


def fill_text(text: str, parameters: Parameters) -> Any:
    """Fill the placeholders in a text, or return the structure that `{$REPLACE:name}` stands for.

    Raises
    ------
    RecipeError
        A placeholder is malformed, or a key or index of a known parameter is missing.
    """
    if not ((":" in text or "!" in text) and _FORMATTED.search(text)):  # which is most texts
        try:
            return text.format_map(parameters)
        except _FAULTS:
            pass  # done again below, with more patience and better messages
    try:
        if whole := _REPLACE.fullmatch(text):
            return _replacement(whole[1], parameters)
        return _format(text, parameters)
    except _FAULTS as error:
        raise RecipeError(f"placeholders in {shown(text)} can't be filled: {error}") from error


class _Accessor(NamedTuple):
    """A way into a parameter: `[key]`, `[0]` or `.attribute`."""

    key: str
    is_attribute: bool

    def follow(self, value: Any) -> Any:
        if self.is_attribute:
            return getattr(value, self.key)
        index = int(self.key) if self.key.isdecimal() else self.key
        if isinstance(value, dict):
            return self._follow_object(value, index)
        try:
            return value[index]
        except (LookupError, TypeError) as error:
            size = f" of {len(value)}" if hasattr(value, "__len__") else ""
            raise LookupError(f"a {type(value).__name__}{size} has no [{self.key}]") from error

    def _follow_object(self, value: dict[Any, Any], index: str | int) -> Any:
        """Find a number as it is or as text: JSON makes text of keys."""
        for key in (index, self.key):
            if key in value:
                return value[key]
        raise _MissingKey(self.key, value)


class _MissingKey(LookupError):
    """An object has no such key, which is no error where it's replaced as a whole."""

    def __str__(self) -> str:
        key, value = self.args
        return f"there is no key {key!r}; keys: {shown(list(value))[1:-1]}"


def _format(text: str, parameters: Parameters) -> str:
    return "".join(
        literal + ("" if field is None else _fill_field(field, spec or "", conversion, parameters))
        for literal, field, spec, conversion in _FORMATTER.parse(text)
    )


def _fill_field(field: str, spec: str, conversion: str | None, parameters: Parameters) -> str:
    if field == "$REPLACE":
        raise ValueError("{$REPLACE:name[key]} must be all of the text, with a name in it")
    if conversion not in (None, "r", "s", "a"):
        raise ValueError(f"unknown conversion !{conversion}; there are !r, !s and !a")
    name, accessors = _taken_apart(field)
    if name not in parameters:
        if spec or any(accessor.is_attribute for accessor in accessors):
            known = shown(sorted(map(str, parameters)))[1:-1]
            raise ValueError(f"{name!r} is unknown, so it can't be formatted; known: {known}")
        return f"{{{field}!{conversion}}}" if conversion else f"{{{field}}}"
    value = parameters[name]
    for accessor in accessors:
        value = accessor.follow(value)
    return _formatted(_FORMATTER.convert_field(value, conversion), _format(spec, parameters))


def _formatted(value: Any, spec: str) -> str:
    if _TOO_WIDE.search(spec):  # or {name:9999999999} would fill the memory
        raise ValueError(f"format {spec!r} is wider than 9999")
    return format(value, spec)


def _taken_apart(field: str) -> tuple[str, list[_Accessor]]:
    match = _FIELD.fullmatch(field)
    if match is None:
        raise ValueError(f"{{{field}}}: expected a name followed by [key] or [index]")
    if not match["name"] or match["name"].isdecimal():
        raise ValueError(f"{{{field}}} has no name; a literal brace is written twice")
    return match["name"], list(_accessors(match["accessors"]))


def _accessors(text: str) -> Iterator[_Accessor]:
    for match in _ACCESSOR.finditer(text):
        key, attribute = match.groups()
        yield _Accessor(key or attribute, is_attribute=key is None)


def _replacement(field: str, parameters: Mapping[str, Any]) -> Any:
    """Copy the structure at `name[key][0]`; None where a name or key is missing."""
    name, accessors = _taken_apart(field)
    if name not in parameters:
        return None
    value = parameters[name]
    for accessor in accessors:
        if accessor.is_attribute:
            raise ValueError(f"{{$REPLACE:{field}}}: expected a name followed by [key] or [index]")
        try:
            value = accessor.follow(value)
        except _MissingKey:
            return None
    return copied(value)
