"""What a step's parameter model says of a node's parameters. Values with placeholders pass whatever their type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic_core import ErrorDetails

from blocks.validation_faults import expectation
from flows.recipe.check.placeholder_sources import is_open
from flows.recipe.language.values import shown
from tasks.step import Chooses, Fills, SpeltFreely

Annotation = TypeVar("Annotation", Chooses, Fills)


@dataclass(frozen=True)
class ParameterProblem:
    """A parameter that is missing or has the wrong type; without a name, all of them don't go together."""

    parameter: str
    is_missing: bool
    expected: str
    seen: str


def names_of(model: type[BaseModel]) -> set[str]:
    """Return all names by which a model knows its fields."""
    names = set(model.model_fields)
    for field in model.model_fields.values():
        for alias in (field.alias, field.validation_alias):
            choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
            names |= {choice for choice in choices if isinstance(choice, str)}
    return names


def by_field_names(model: type[BaseModel], values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return values by the names that a model has for them, if it takes other spellings."""
    return model.respelt(values) if issubclass(model, SpeltFreely) else values


def has_parameter(model: type[BaseModel], name: str) -> bool:
    """Tell whether a model has a parameter of that name, however spelt."""
    return not names_of(model).isdisjoint(by_field_names(model, {name: None}))


def annotations_of(model: type[BaseModel], kind: type[Annotation]) -> Iterator[tuple[str, Annotation]]:
    """Yield the annotations of a kind, each with the name that its parameter has in recipes."""
    for name, field in model.model_fields.items():
        for annotation in field.metadata:
            if isinstance(annotation, kind):
                yield field.alias or name, annotation


def parameter_problems(
    model: type[BaseModel], given: Mapping[str, Any], examples: Mapping[str, Any], *, is_complete: bool = True
) -> list[ParameterProblem]:
    """Hold parameters against a model.

    Parameters
    ----------
    given
        As they stand in the recipe.
    examples
        The same with the values of an example data collection.
    is_complete
        There will be no others: those that are missing are problems.
    """
    given, examples = by_field_names(model, given), by_field_names(model, examples)
    try:
        model.model_validate(examples)  # with examples, so that what a placeholder stands for is of its type
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
    else:
        return []
    by_parameter: dict[str, list[ErrorDetails]] = {}
    for detail in details:
        by_parameter.setdefault(str(detail["loc"][0]) if detail["loc"] else "", []).append(detail)
    problems = [_parameter_problem(parameter, those, given) for parameter, those in by_parameter.items()]
    has_all_names = is_complete and not any(is_open(name) for name in given)
    return [problem for problem in problems if _is_certain(problem, given, has_all_names=has_all_names)]


def _parameter_problem(parameter: str, details: list[ErrorDetails], given: Mapping[str, Any]) -> ParameterProblem:
    """Make one of all that a model says of a parameter: of a union, it says something for each member."""
    if details[0]["type"] == "missing":
        return ParameterProblem(parameter, True, repr(parameter), ", ".join(map(repr, given)) or "none")
    expected = " or ".join(dict.fromkeys(expectation(detail) for detail in details))
    return ParameterProblem(parameter, False, expected, shown(given.get(parameter, details[0]["input"])))


def _is_certain(problem: ParameterProblem, given: Mapping[str, Any], *, has_all_names: bool) -> bool:
    if problem.is_missing:
        return has_all_names
    if not problem.parameter:
        return has_all_names and not is_open(given)
    return not is_open(given.get(problem.parameter))
