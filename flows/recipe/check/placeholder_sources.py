"""What fills the placeholders of recipes, and what is wrong with those of a text."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cached_property
from string import Formatter
from typing import Any

from blocks.errors import RecipeError
from blocks.settings import get_settings
from flows.recipe.check.problem import Problem
from flows.recipe.language.substitution import fill

MOST_UNKNOWN = 20  # names of a text that are told of: looking for similar ones costs 0.1 ms each
_NAME = re.compile(r"[^.\[]*")
_KEY = re.compile(r"\[([^\]]+)\]")
_FORMATTER = Formatter()


class AnyValue(str):
    """Stands for a value that nobody knows yet: it has every key and takes every format."""

    __slots__ = ()

    def __new__(cls) -> AnyValue:
        """Make one that reads as text and as a number."""
        return super().__new__(cls, "1")

    def __getitem__(self, key: Any) -> AnyValue:
        return self

    def __getattr__(self, name: str) -> AnyValue:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __format__(self, specification: str) -> str:
        return "1"


class PlaceholderSources:
    """What fills placeholders when a recipe runs: ISPyB, the site's settings, the run itself, and what was declared.

    Parameters
    ----------
    declared
        Names that will come with the run's `parameters`.
    """

    def __init__(self, declared: Iterable[str] = ()) -> None:
        from tasks.ispyb_access.reading.example import example_parameters

        self.declared = frozenset(declared)
        site = get_settings().recipe_parameters()
        self._examples = {**site, **example_parameters(), "guid": "example", **dict.fromkeys(self.declared, AnyValue())}

    def __contains__(self, name: object) -> bool:
        return name in self._examples

    def fill(self, value: Any) -> Any:
        """Fill in the values of an example data collection.

        Raises
        ------
        RecipeError
            A placeholder can't be filled.
        """
        return fill(value, self._examples)

    def has_examples_for(self, value: Any, own: Collection[str] = ()) -> bool:
        """Tell whether there's an example for each placeholder but those that the step itself fills.

        There's none for what was declared: nothing is known of it but its name.
        """
        names = {_name_of(field) for _, text in texts(value) for field in fields_in(text)}
        return all((name in self or name in own) and name not in self.declared for name in names)

    def problems(self, text: str, own: Collection[str] = ()) -> Iterator[Problem]:
        """Say what is wrong with a text's placeholders, wherever it stands.

        Parameters
        ----------
        own
            Names that the step itself fills.
        """
        unknown: list[str] = []
        for field in dict.fromkeys(fields_in(text)):
            name = _name_of(field)
            if len(unknown) == MOST_UNKNOWN:
                return
            if name and not name.isdecimal() and name not in self:
                if name not in own:
                    known = [*self._examples, *own]
                    yield Problem(
                        "", "unknown placeholder", "a name that is provided", repr(name), closest(name, known)
                    )
                    unknown.append(name)
            elif missing := self._missing_key(name, field):
                key, there = missing
                yield Problem("", f"unknown key of {name}", "one that it has", repr(key), closest(key, there))
                return
        try:
            fill(text, {**self._with_any_values, **dict.fromkeys(unknown, AnyValue())})
        except RecipeError as error:
            yield Problem("", str(error))

    def _missing_key(self, name: str, field: str) -> tuple[str, list[str]] | None:
        value = self._with_any_values.get(name)
        for key in _KEY.findall(field):
            if not isinstance(value, Mapping):
                break
            if key not in value:
                return key, list(value)
            value = value[key]
        return None

    @cached_property
    def _with_any_values(self) -> dict[str, Any]:
        return {name: _with_any_values(value) for name, value in self._examples.items()}


def _with_any_values(value: Any) -> Any:
    """Keep the keys that are columns' names; how long a list is, and which samples a pin has, differs."""
    if isinstance(value, Mapping) and value and all(isinstance(key, str) for key in value):
        return {key: _with_any_values(below) for key, below in value.items()}
    return AnyValue() if isinstance(value, Mapping | list | tuple) else value


def fields_in(text: str) -> Iterator[str]:
    """Yield the placeholders of a text with their keys: `name[key]`; none if it's malformed.

    `${name}` is none if nobody provides the name: ISPyB's commands look it up in the message's environment.
    """
    try:
        parts = list(_FORMATTER.parse(text))
    except ValueError:
        return
    for literal, field, spec, _ in parts:
        if field == "$REPLACE":
            yield spec or ""
        elif field is not None and not literal.endswith("$"):
            yield field
            yield from fields_in(spec or "")


def is_open(value: Any) -> bool:
    """Tell whether placeholders in a value leave its type and content open."""
    return any("{" in text or "}" in text for _, text in texts(value))


def texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield all texts of a JSON value, keys too, each with the way to it."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, below in value.items():
            yield from texts(key, path)
            yield from texts(below, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from texts(item, f"{path}[{index}]")


def closest(name: Any, known: Iterable[str], cutoff: float = 0.7) -> str | None:
    """Return the known name that may have been meant."""
    matches = get_close_matches(name, list(known), 1, cutoff) if isinstance(name, str) else []
    return matches[0] if matches else None


def _name_of(field: str) -> str:
    return _NAME.match(field)[0]  # type: ignore[index]  # the pattern matches the empty text
