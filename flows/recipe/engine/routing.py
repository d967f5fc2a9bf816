"""Where a node's messages go: named outputs, default channels, the same target twice, error links."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flows.recipe.language.recipe import ERROR, Recipe, links, reachable


class Routes(dict[str | None, tuple[int, ...]]):
    """The targets of one node's outputs, in order, one message each; an output that it doesn't link leads nowhere.

    Parameters
    ----------
    output
        The node's `output`: a number, a list of numbers, or an object of named ones.
    default
        The step's default output: what it sends there also goes along unnamed links, and what it sends unnamed
        goes there where the outputs are named.
    """

    def __init__(self, output: Any, default: str | None) -> None:
        if isinstance(output, Mapping):
            named = {name: _targets(below) for name, below in output.items()}
            unnamed = named.get(default, ()) if default is not None else ()
        else:
            unnamed = _targets(output)
            named = {default: unnamed} if default is not None else {}
        super().__init__({**named, None: unnamed})

    def __missing__(self, output: str | None) -> tuple[int, ...]:
        return ()

    def targets(self) -> set[int]:
        """All nodes that this one may send to."""
        return {target for targets in self.values() for target in targets}


def error_targets(recipe: Recipe) -> dict[int, tuple[int, ...]]:
    """Return where each node's failed messages go.

    That is along its own error links, and to the recipe's error nodes unless they lead to the node itself.
    """
    handlers = reachable(recipe, recipe.error)
    return {
        number: (
            *(link.target for link in links(node) if link.path[0] == ERROR),
            *(() if number in handlers else recipe.error),
        )
        for number, node in recipe.nodes.items()
    }


def _targets(links: Any) -> tuple[int, ...]:
    if links is None:
        return ()
    return (links,) if isinstance(links, int) else tuple(link for link in links if link is not None)
