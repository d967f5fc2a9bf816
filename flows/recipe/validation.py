"""The rules that every recipe obeys before it may run (structure only: steps are checked when it's run)."""

from __future__ import annotations

from blocks.errors import RecipeError
from flows.recipe.language import Recipe, links, reachable


def validate(recipe: Recipe) -> None:
    """Check a recipe against all rules.

    Raises
    ------
    RecipeError
        Naming every rule that is broken, with the node and the path that leads there.
    """
    faults = [*_invalid_links(recipe), *_unknown_targets(recipe)]
    if not faults:  # cycles and reachability are defined on sound links only
        faults = [*_cycles(recipe), *_unreachable(recipe)]
    if faults:
        raise RecipeError("; ".join(faults))


def _invalid_links(recipe: Recipe) -> list[str]:
    return [
        f"node {number}: Invalid link {link.target!r} in {'.'.join(link.path)}: expected a node number"
        for number, node in recipe.nodes.items()
        for link in links(node)
        if not isinstance(link.target, int) or isinstance(link.target, bool) or len(link.path) > 2
    ]


def _unknown_targets(recipe: Recipe) -> list[str]:
    known = f"known nodes: {', '.join(map(str, sorted(recipe.nodes)))}"
    faults = [
        f"'start' leads to node {node}, which doesn't exist; {known}"
        for node, _ in recipe.start
        if node not in recipe.nodes
    ]
    faults += [
        f"'error' leads to node {node}, which doesn't exist; {known}"
        for node in recipe.error
        if node not in recipe.nodes
    ]
    faults += [
        f"node {number}: {'.'.join(link.path)} leads to node {link.target!r}, which doesn't exist; {known}"
        for number, node in recipe.nodes.items()
        for link in links(node)
        if isinstance(link.target, int) and link.target not in recipe.nodes
    ]
    return faults


def _entries(recipe: Recipe) -> list[int]:
    return [*(node for node, _ in recipe.start), *recipe.error]


def _cycles(recipe: Recipe) -> list[str]:
    """Name the first cycle that a depth-first walk meets (iterative: recipes may be long)."""
    finished: set[int] = set()
    for entry in _entries(recipe):
        path: list[int] = []
        stack = [(entry, iter(()) if entry in finished else iter([link.target for link in links(recipe.nodes[entry])]))]
        path.append(entry)
        while stack:
            node, targets = stack[-1]
            target = next(targets, None)
            if target is None:
                stack.pop()
                path.pop()
                finished.add(node)
            elif target in path:
                cycle = [*path[path.index(target) :], target]
                return [f"cycle: {' -> '.join(map(str, cycle))}; a recipe must not lead back to a node it has passed"]
            elif target not in finished:
                path.append(target)
                stack.append((target, iter([link.target for link in links(recipe.nodes[target])])))
    return []


def _unreachable(recipe: Recipe) -> list[str]:
    reached = reachable(recipe, _entries(recipe))
    return [f"node {node} can't be reached from 'start'" for node in recipe.nodes if node not in reached]
