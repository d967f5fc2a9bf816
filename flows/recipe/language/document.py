"""The rules about a recipe's document: node keys, nodes, `start` and `error`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from blocks.errors import RecipeError
from flows.recipe.language.values import check_value, shown

START, ERROR = "start", "error"


class InvalidRecipe(RecipeError):
    """A recipe breaks rules of the language: it could run nowhere.

    Parameters
    ----------
    problems
        One line for each, with the node and what was expected.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(*self.problems)  # as they are, or the error couldn't be pickled

    def __str__(self) -> str:
        return "; ".join(self.problems)

    def __reduce__(self) -> tuple[type[InvalidRecipe], tuple[tuple[str, ...]]]:
        return type(self), (self.problems,)


def document_problems(document: Any) -> list[str]:
    """Return what is wrong with a document that should be a recipe, before its links are looked at."""
    if not document:
        return [f"No recipe defined: expected a JSON object with nodes and '{START}'"]
    if not isinstance(document, dict):
        return [f"a recipe is a JSON object of nodes, not a {type(document).__name__}"]
    return [*_key_problems(document), *_node_problems(document), *_start_problems(document), *_error_problems(document)]


def node_number(key: Any) -> int | None:
    """Return the number that a node's key stands for: `"01"` is 1; None if it is no number."""
    if isinstance(key, str):
        try:
            key = int(key)
        except ValueError:
            return None
    return key if is_node_number(key) and key != 0 else None  # Zocalo, too, takes "0" for no number


def is_node_number(value: Any) -> bool:
    """Tell whether a value can be a link: an integer (of 64 bits), which true and false are not."""
    return type(value) is int and -(2**63) <= value < 2**63


def node_items(document: Mapping[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """Yield the nodes of a document with their keys."""
    return ((key, node) for key, node in document.items() if key not in (START, ERROR))


def error_links(document: Mapping[Any, Any]) -> tuple[Any, ...]:
    """Return a document's recipe-level error links; a single one needs no list."""
    links = document.get(ERROR)
    if links is None:
        return ()
    return (links,) if is_node_number(links) else tuple(links)


def _key_problems(document: Mapping[Any, Any]) -> Iterator[str]:
    keys: dict[int, Any] = {}
    for key, _ in node_items(document):
        number = node_number(key)
        if number is None:
            yield f"node key {shown(key)} is not numeric: nodes are numbered, '{START}' and '{ERROR}' stand beside them"
        elif number in keys:  # Zocalo drops the first of them without a word
            yield f"node {number}: keys {shown(keys[number])} and {shown(key)} are the same number: give one another"
        else:
            keys[number] = key


def _node_problems(document: Mapping[Any, Any]) -> Iterator[str]:
    for key, node in node_items(document):
        if not isinstance(node, dict):
            yield f"node {shown_key(key)}: expected a JSON object, seen a {type(node).__name__}"
        elif problem := _value_problem(node):
            yield f"node {shown_key(key)}: {problem}"


def _start_problems(document: Mapping[Any, Any]) -> Iterator[str]:
    entries = document.get(START)
    if not entries:
        yield f"'{START}' is missing or empty: expected a list of [node, payload] pairs"
        return
    if not isinstance(entries, (list, tuple)):
        yield f"'{START}' {shown(entries)}: expected a list of [node, payload] pairs"
        return
    for entry in entries:
        if not isinstance(entry, (list, tuple)) or len(entry) != 2:
            yield f"'{START}' entry {shown(entry)}: expected a pair [node number, payload]"
        elif entry[0] == START:
            yield f"'{START}' leads to itself: expected pairs [node number, payload], seen {shown(entry)}"
        elif not is_node_number(entry[0]):
            yield f"'{START}' entry {shown(entry)}: expected a pair [node number, payload]"
        elif problem := _value_problem(entry[1]):
            yield f"'{START}' of node {entry[0]}: {problem}"


def _error_problems(document: Mapping[Any, Any]) -> Iterator[str]:
    links = document.get(ERROR)
    if not (links is None or is_node_number(links) or isinstance(links, (list, tuple))):
        yield f"recipe-level '{ERROR}' {shown(links)}: expected a list of node numbers"
        return
    for link in error_links(document):
        if link in (START, ERROR):
            yield f"recipe-level '{ERROR}' leads to '{link}': expected node numbers"
        elif not is_node_number(link):
            yield f"recipe-level '{ERROR}' {shown(link)}: expected a node number"


def shown_key(key: Any) -> str:
    """Return a node's key for a message: its number if it stands for one."""
    number = node_number(key)
    return shown(key) if number is None else str(number)


def _value_problem(value: Any) -> str | None:
    try:
        check_value(value)
    except RecipeError as error:
        return str(error)
    return None
