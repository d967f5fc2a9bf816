"""The rules that every recipe obeys before it may run (structure only: steps are checked when it's run)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from blocks.errors import RecipeError
from flows.recipe.language.document import is_node_number
from flows.recipe.language.files import read_text
from flows.recipe.language.recipe import ERROR, START, InvalidRecipe, Link, Recipe, links, parse_recipe
from flows.recipe.language.values import shown

Links = Mapping[int, tuple[Link, ...]]


def read_recipe(path: Path) -> Recipe:
    """Read and validate a recipe file; `-` is standard input.

    Raises
    ------
    RecipeError
        It can't be read, isn't JSON or breaks a rule of the language; the message names the file.
    """
    return validated_recipe(read_text(path), path)


def validated_recipe(text: str, source: Path) -> Recipe:
    """Parse and validate the text of a recipe file.

    Raises
    ------
    RecipeError
        It isn't JSON or breaks a rule of the language; the message names the file.
    """
    try:
        recipe = parse_recipe(text)
        validate(recipe)
    except RecipeError as error:
        raise RecipeError(f"{source}: {error}") from error
    return recipe


def validate(recipe: Recipe) -> None:
    """Check a recipe against all rules.

    Raises
    ------
    InvalidRecipe
        Naming every rule that is broken, with the node and the path that leads there.
    """
    if problems := graph_problems(recipe):
        raise InvalidRecipe(problems)


def graph_problems(recipe: Recipe) -> list[str]:
    """Return a line for every rule that a recipe breaks."""
    if not recipe.nodes:
        return ["No recipe defined: expected nodes"]
    if not recipe.start:
        return [f"'{START}' is missing or empty: expected a list of [node, payload] pairs"]
    linked = {number: tuple(links(node)) for number, node in recipe.nodes.items()}
    problems = [*_invalid_links(linked), *_unknown_entries(recipe), *_unknown_targets(recipe, linked)]
    if not problems:  # cycles and reachability are defined on sound links only
        reached = _came_from(recipe, linked)
        problems = [*_cycles(recipe, linked, reached), *_unreachable(recipe, reached)]
    return problems


def _invalid_links(linked: Links) -> Iterator[str]:
    for number, node_links in linked.items():
        for path, target in node_links:
            if isinstance(target, dict):  # Zocalo lets it pass, and fails when it sends
                yield f"node {number}: Invalid link {shown(target)} in {'.'.join(path)}: names don't nest further"
            elif not is_node_number(target):
                yield f"node {number}: Invalid link {shown(target)} in {'.'.join(path)}: expected a node number"


def _unknown_entries(recipe: Recipe) -> Iterator[str]:
    for name, node in _entries(recipe):
        if node not in recipe.nodes:
            yield f"'{name}' leads to node {node}, which doesn't exist; {_known(recipe)}"


def _unknown_targets(recipe: Recipe, linked: Links) -> Iterator[str]:
    for number, node_links in linked.items():
        for path, target in node_links:
            if is_node_number(target) and target not in recipe.nodes:
                yield (
                    f"node {number}: {'.'.join(path)} leads to node {target}, which doesn't exist "
                    f"(path {_route(recipe, linked, number)} -> {target}); {_known(recipe)}"
                )


def _known(recipe: Recipe) -> str:
    return f"known nodes: {shown(sorted(recipe.nodes))[1:-1]}"


def _entries(recipe: Recipe) -> list[tuple[str, int]]:
    return [*((START, node) for node, _ in recipe.start), *((ERROR, node) for node in recipe.error)]


def _came_from(recipe: Recipe, linked: Links) -> dict[int, str | int]:
    """Return for each node that can be reached the one before it on a shortest way from start or error."""
    before: dict[int, str | int] = {}
    waiting: list[tuple[str | int, int]] = [*_entries(recipe)]
    for previous, node in waiting:  # grows meanwhile
        if node in linked and node not in before:
            before[node] = previous
            waiting += [(node, link.target) for link in linked[node] if is_node_number(link.target)]
    return before


def _route(recipe: Recipe, linked: Links, node: int) -> str:
    """Write the way from start or error to a node; just the node if there is none."""
    before = _came_from(recipe, linked)
    route: list[str | int] = [node]
    while (previous := before.get(route[-1])) is not None:  # type: ignore[arg-type]  # START is in no key
        route.append(previous)
    return " -> ".join(map(str, reversed(route)))


def _cycles(recipe: Recipe, linked: Links, reached: Iterable[int]) -> Iterator[str]:
    """Name a cycle among the nodes that can be reached, from the node at which one enters it."""
    # Recipes are mostly numbered along their links; then no way leads back, and graphlib, a third of all the checking,
    # needn't be asked.
    if all(target > node for node in reached for _, target in linked[node]):
        return
    graph = TopologicalSorter({node: [link.target for link in linked[node]] for node in reached})
    try:
        graph.prepare()
    except CycleError as error:
        backwards: list[int] = error.args[1][1:]  # to graphlib, what a node leads to comes before it
        members = backwards[::-1]
        inside = set(members)
        entry = next(node for node in reached if node in inside)
        first = members.index(entry)
        cycle = " -> ".join(map(str, [*members[first:], *members[:first], entry]))
        route = _route(recipe, linked, entry)
        yield (
            f"node {members[first - 1]}: cycle: {cycle} (path {route}); "
            "a recipe must not lead back to a node it has passed"
        )


def _unreachable(recipe: Recipe, reached: Collection[int]) -> Iterator[str]:
    for node in recipe.nodes:
        if node not in reached:
            yield f"node {node} can't be reached from '{START}' or '{ERROR}'"
