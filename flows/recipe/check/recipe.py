"""Strict checking: whether a recipe would run, as far as its files and the steps can tell. Nothing is run.

Beyond the rules of the language (`flows.recipe.language.validation`), each node is held against the step that serves
it. What the recipe leaves open is taken to be right: a value with a placeholder passes any type, what other steps'
messages may bring isn't missed. Parameters that a step doesn't know are no fault, since recipes share parameter
blocks between steps; a name that differs a little from a known one is worth a warning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from flows.recipe.check.node import NodeChecker
from flows.recipe.check.placeholder_sources import Provided, texts
from flows.recipe.check.problem import Finding
from flows.recipe.check.structure import parse_file, structural_findings
from flows.recipe.language.document import is_node_number
from flows.recipe.language.recipe import Recipe, links


def check_file(file: Path, provided: Provided | None = None) -> list[Finding]:
    """Check a recipe file; `-` is standard input.

    Parameters
    ----------
    provided
        What fills its placeholders; None: ISPyB and the site's settings.
    """
    recipe, findings = parse_file(file)
    return findings if recipe is None else check_recipe(recipe, provided)


def check_recipe(recipe: Recipe, provided: Provided | None = None) -> list[Finding]:
    """Check a recipe, whose structure may be faulty, too."""
    provided = provided or Provided()
    findings = structural_findings(recipe)
    targets = [link.target for node in recipe.nodes.values() for link in links(node)]
    fed = {target for target in targets if is_node_number(target)} | set(recipe.error)
    for number, node in recipe.nodes.items():
        started = tuple(payload for target, payload in recipe.start if target == number)
        findings += NodeChecker(number, node, None if number in fed else started, provided).findings()
    return [*findings, *_start_findings(recipe, provided)]


def _start_findings(recipe: Recipe, provided: Provided) -> Iterator[Finding]:
    for number, payload in recipe.start:
        for path, text in texts(payload, "payload"):
            for fault in provided.faults(text):
                yield fault.at(f"'start' of node {number}", path)


def errors(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that aren't mere warnings."""
    return [finding for finding in findings if not finding.is_warning]
