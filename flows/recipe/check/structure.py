"""Checking recipe files by the rules of the language alone: no step is imported."""

from __future__ import annotations

from pathlib import Path

from blocks.errors import RecipeError
from flows.recipe.check.problem import Finding
from flows.recipe.language.files import read_text
from flows.recipe.language.recipe import InvalidRecipe, Recipe, parse_recipe
from flows.recipe.language.validation import graph_problems


def check_structure(file: Path) -> list[Finding]:
    """Hold a recipe file against the rules of the language; `-` is standard input."""
    recipe, findings = parse_file(file)
    return findings if recipe is None else structural_findings(recipe)


def parse_file(file: Path) -> tuple[Recipe | None, list[Finding]]:
    """Return the recipe of a file, or why there's none."""
    try:
        return parse_recipe(read_text(file)), []
    except InvalidRecipe as error:
        return None, [Finding("", fault) for fault in error.problems]
    except RecipeError as error:
        return None, [Finding("", str(error).removeprefix(f"{file}: "))]


def structural_findings(recipe: Recipe) -> list[Finding]:
    """Return what breaks the rules of the language."""
    return [Finding("", fault) for fault in graph_problems(recipe)]
