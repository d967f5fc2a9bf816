"""Checking recipes: whether a recipe would run, as far as its files and the steps can tell. Nothing is run.

Beyond the rules of the language (`flows.recipe.language.validation`), each node is held against the step that serves
it. What the recipe leaves open is taken to be right: a value with a placeholder passes any type, what other steps'
messages may bring isn't missed. Parameters that a step doesn't know are all right, since recipes share parameter
blocks between steps; a name that differs a little from a known one is worth a warning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from flows.recipe.check.node import NodeChecker
from flows.recipe.check.placeholder_sources import PlaceholderSources, texts
from flows.recipe.check.problem import Problem, parse_file, structure_problems
from flows.recipe.language.document import is_node_number
from flows.recipe.language.recipe import Recipe, links


def check_file(file: Path, sources: PlaceholderSources | None = None) -> list[Problem]:
    """Check a recipe file; `-` is standard input.

    Parameters
    ----------
    sources
        What fills its placeholders; None: ISPyB and the site's settings.
    """
    recipe, problems = parse_file(file)
    return problems if recipe is None else [*problems, *check_recipe(recipe, sources)]


def check_recipe(recipe: Recipe, sources: PlaceholderSources | None = None) -> list[Problem]:
    """Check a recipe, whose structure may be faulty, too."""
    sources = sources or PlaceholderSources()
    problems = structure_problems(recipe)
    targets = [link.target for node in recipe.nodes.values() for link in links(node)]
    fed = {target for target in targets if is_node_number(target)} | set(recipe.error)
    for number, node in recipe.nodes.items():
        started = tuple(payload for target, payload in recipe.start if target == number)
        problems += NodeChecker(number, node, None if number in fed else started, sources).problems()
    return [*problems, *_start_problems(recipe, sources)]


def _start_problems(recipe: Recipe, sources: PlaceholderSources) -> Iterator[Problem]:
    for number, payload in recipe.start:
        for path, text in texts(payload, "payload"):
            for problem in sources.problems(text):
                yield problem.at(f"'start' of node {number}", path)


def errors(problems: Iterable[Problem]) -> list[Problem]:
    """Return the problems that aren't mere warnings."""
    return [problem for problem in problems if not problem.is_warning]
