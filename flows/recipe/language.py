"""The recipe language: what a recipe file says, as a value. Zocalo's JSON, unchanged.

A recipe is a graph of nodes. Each node names the service (by queue) that handles its messages and the nodes
that its outputs lead to; `start` lists the messages that set it going.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blocks.errors import RecipeError

START, ERROR = "start", "error"


@dataclass(frozen=True)
class Recipe:
    """A recipe as it was written, with its node numbers as integers.

    Parameters
    ----------
    nodes
        Node number to the node's JSON object; a single-integer `output` has become a list.
    start
        Pairs of node number and payload, in order.
    error
        Nodes that the recipe names for its errors.
    """

    nodes: Mapping[int, Mapping[str, Any]]
    start: tuple[tuple[int, Any], ...]
    error: tuple[int, ...] = ()


def read_recipe(path: Path) -> Recipe:
    """Read and validate a recipe file.

    Raises
    ------
    RecipeError
        It can't be read, isn't JSON or breaks a rule of the language; the message names the file.
    """
    from flows.recipe.validation import validate

    try:
        recipe = parse_recipe(path.read_text(encoding="utf-8"))
        validate(recipe)
    except OSError as error:
        raise RecipeError(f"recipe file {path} can't be read: {error.strerror or error}") from error
    except (RecipeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: {error}") from error
    return recipe


def parse_recipe(text: str) -> Recipe:
    """Make a recipe of its JSON text.

    Of a key that stands twice the last one counts; recipes use the first as a comment.

    Raises
    ------
    RecipeError
        The text isn't JSON, or isn't of a recipe's shape.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"not JSON: {error}") from error
    return recipe_from_document(document)


def recipe_from_document(document: Any) -> Recipe:
    """Make a recipe of a parsed JSON document (see `parse_recipe`)."""
    if not document:
        raise RecipeError("No recipe defined: expected a JSON object with nodes and 'start'")
    if not isinstance(document, Mapping):
        raise RecipeError(f"a recipe is a JSON object of nodes, not a {type(document).__name__}")
    nodes: dict[int, Mapping[str, Any]] = {}
    for key, node in document.items():
        if key not in (START, ERROR):
            nodes[_node_number(key)] = _normalised(key, node)
    return Recipe(nodes, _start_entries(document.get(START)), _error_links(document.get(ERROR)))


def _node_number(key: Any) -> int:
    try:
        number = int(key)
    except (TypeError, ValueError):
        number = 0
    if number == 0:  # Zocalo, too, takes "0" for no number
        raise RecipeError(
            f"node key {key!r} is not numeric: nodes are numbered, '{START}' and '{ERROR}' stand beside them"
        )
    return number


def _normalised(key: Any, node: Any) -> Mapping[str, Any]:
    if not isinstance(node, Mapping):
        raise RecipeError(f"node {key}: expected a JSON object, seen a {type(node).__name__}")
    output = node.get("output")
    return {**node, "output": [output]} if _is_node_number(output) else node


def _start_entries(entries: Any) -> tuple[tuple[int, Any], ...]:
    if not isinstance(entries, list | tuple) or not entries:
        raise RecipeError(f"'{START}' is missing or empty: expected a list of [node, payload] pairs")
    for entry in entries:
        if not isinstance(entry, list | tuple) or len(entry) != 2 or not _is_node_number(entry[0]):
            raise RecipeError(f"'{START}' entry {entry!r}: expected a pair [node number, payload]")
    return tuple((node, payload) for node, payload in entries)


def _error_links(links: Any) -> tuple[int, ...]:
    if links is None:
        return ()
    links = [links] if _is_node_number(links) else links
    if not isinstance(links, list | tuple) or not all(_is_node_number(link) for link in links):
        raise RecipeError(f"recipe-level '{ERROR}' {links!r}: expected a list of node numbers")
    return tuple(links)


def _is_node_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True)
class Link:
    """A link of a node: the path to it within the node (`output`, `first`, …) and where it leads."""

    path: tuple[str, ...]
    target: Any


def links(node: Mapping[str, Any]) -> Iterator[Link]:
    """Yield a node's output and error links; None is no link."""
    for key in ("output", "error"):
        yield from _links_below((key,), node.get(key))


def _links_below(path: tuple[str, ...], value: Any) -> Iterator[Link]:
    if isinstance(value, Mapping):
        for name, below in value.items():
            yield from _links_below((*path, str(name)), below)
    elif isinstance(value, list | tuple):
        yield from (Link(path, target) for target in value if target is not None)
    elif value is not None:
        yield Link(path, value)


def reachable(recipe: Recipe, entries: Iterable[int]) -> set[int]:
    """Return the nodes that output and error links lead to from some nodes, these included."""
    reached: set[int] = set()
    waiting = list(entries)
    while waiting:
        node = waiting.pop()
        if node not in reached:
            reached.add(node)
            waiting += [link.target for link in links(recipe.nodes[node])]
    return reached
