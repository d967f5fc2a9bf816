"""The recipe language: what a recipe file says, as a value. Zocalo's JSON, unchanged.

A recipe is a graph of nodes. Each node names the service (by queue) that handles its messages and the nodes
that its outputs lead to; `start` lists the messages that set it going.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from blocks.errors import RecipeError
from flows.recipe.language.document import (
    ERROR,
    START,
    InvalidRecipe,
    document_problems,
    error_links,
    is_node_number,
    node_items,
    node_number,
)
from flows.recipe.language.files import parse_json

__all__ = [
    "ERROR",
    "START",
    "InvalidRecipe",
    "Link",
    "Recipe",
    "links",
    "parse_recipe",
    "reachable",
    "recipe_from_document",
]


@dataclass(frozen=True, eq=False)
class Recipe:
    """A recipe as it was written, with its node numbers as integers.

    It equals its document and its JSON text, whichever way they write numbers and single outputs; `in` asks for
    node numbers, "start" and "error".

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

    def __contains__(self, key: object) -> bool:
        if key in (START, ERROR):
            return bool(self.start if key == START else self.error)
        return is_node_number(key) and key in self.nodes

    def __eq__(self, other: object) -> bool:
        try:
            if isinstance(other, str):
                other = parse_recipe(other)
            elif isinstance(other, dict):
                other = recipe_from_document(other)
        except RecipeError:
            return False
        if not isinstance(other, Recipe):
            return NotImplemented
        return self._parts() == other._parts() or self._is_written_like(other)

    def to_document(self) -> dict[str, Any]:
        """Return the recipe as the JSON document that a file would hold, sharing nothing with it.

        Raises
        ------
        RecipeError
            It holds something that isn't JSON.
        """
        document: dict[str, Any] = json.loads(self.to_json())
        return document

    def to_json(self, indent: int | None = None) -> str:
        """Return the recipe as JSON text (see `to_document`)."""
        document: dict[str, Any] = {str(number): node for number, node in self.nodes.items()}
        document[START] = self.start
        if self.error:
            document[ERROR] = self.error
        try:
            return json.dumps(document, indent=indent, allow_nan=False)  # NaN is no JSON that others read
        except (TypeError, ValueError, RecursionError) as error:
            raise RecipeError(f"the recipe can't be written as JSON: {error}") from error

    def _parts(self) -> tuple[Any, ...]:
        return self.nodes, self.start, self.error

    def _is_written_like(self, other: Recipe) -> bool:
        """Tell whether two recipes come to the same JSON: tuples are lists there, all keys text."""
        try:
            return self.to_document() == other.to_document()
        except RecipeError:
            return False


def parse_recipe(text: str) -> Recipe:
    """Make a recipe of its JSON text.

    Of a key that stands twice the last one counts; recipes use the first as a comment.

    Raises
    ------
    RecipeError
        The text isn't JSON, or isn't a recipe.
    """
    return recipe_from_document(parse_json(text))


def recipe_from_document(document: Any) -> Recipe:
    """Make a recipe of a parsed JSON document (see `parse_recipe`).

    Raises
    ------
    InvalidRecipe
        It isn't a recipe.
    """
    if problems := document_problems(document):
        raise InvalidRecipe(problems)
    return Recipe(
        {number: _normalised(node) for key, node in node_items(document) if (number := node_number(key)) is not None},
        tuple((node, payload) for node, payload in document[START]),
        error_links(document),
    )


def _normalised(node: Mapping[str, Any]) -> Mapping[str, Any]:
    output = node.get("output")  # as Zocalo has it; it leaves a single `error` as it is
    return {**node, "output": [output]} if is_node_number(output) else node


class Link(NamedTuple):
    """A link of a node: the path to it within the node (`output`, `first`, …) and where it leads."""

    path: tuple[str, ...]
    target: Any


def links(node: Mapping[str, Any]) -> Iterator[Link]:
    """Yield a node's output and error links; None is no link.

    What stands deeper than in an object of lists is yielded as it is: it is no link that could be followed.
    """
    for key in ("output", "error"):
        below = node.get(key)
        if below is None:
            continue
        if isinstance(below, dict):
            for name, targets in below.items():
                yield from _links_along((key, str(name)), targets)
        else:
            yield from _links_along((key,), below)


def _links_along(path: tuple[str, ...], targets: Any) -> Iterator[Link]:
    if isinstance(targets, (list, tuple)):
        yield from (Link(path, target) for target in targets if target is not None)
    elif targets is not None:
        yield Link(path, targets)


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
