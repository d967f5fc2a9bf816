"""What is wrong with a recipe, in a line; and validating its structure, which needs no step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from blocks.errors import RecipeError
from flows.recipe.language.files import read_text
from flows.recipe.language.names import SUFFIX, file_fault
from flows.recipe.language.recipe import InvalidRecipe, Recipe, parse_recipe
from flows.recipe.language.validation import graph_problems
from tasks.regular_files import unfit_kind


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong with a recipe.

    Parameters
    ----------
    place
        The node, or whatever else it is about; empty if `what` says so.
    what, expected, seen
        The problem, in this order.
    meant
        What may have been meant instead.
    is_warning
        It may be as it should be.
    """

    place: str
    what: str
    expected: str = ""
    seen: str = ""
    meant: str | None = None
    is_warning: bool = False

    def at(self, place: str, path: str) -> Problem:
        """Return the same problem with its place, and the way to it within that."""
        return replace(self, place=f"{place}: {path}" if path else place)

    def __str__(self) -> str:
        parts = [
            f"{'warning: ' if self.is_warning else ''}{self.what}",
            f"expected {self.expected}" if self.expected else "",
            f"seen {self.seen}" if self.seen else "",
        ]
        place = f"{self.place}: " if self.place else ""
        meant = f"; did you mean {self.meant!r}?" if self.meant else ""
        text = place + ", ".join(part for part in parts if part) + meant
        return text.replace("\n", " ")  # a line, whatever a step says


def validate_file(file: Path) -> list[Problem]:
    """Hold a recipe file against the rules of the language alone: no step is imported; `-` is standard input."""
    recipe, problems = parse_file(file)
    return problems if recipe is None else [*problems, *structure_problems(recipe)]


def parse_file(file: Path) -> tuple[Recipe | None, list[Problem]]:
    """Return the recipe of a file, None if there's none, and what is wrong so far, with its name or its content."""
    is_there = file.exists() or file.is_symlink()
    fault = file_fault(file) if is_there and file.name.endswith(SUFFIX) else None
    if fault and (not file.is_file() or unfit_kind(str(file))):
        return None, [Problem("", fault)]
    try:
        return parse_recipe(read_text(file)), [Problem("", fault)] if fault else []
    except InvalidRecipe as error:
        return None, [Problem("", problem) for problem in error.problems]
    except RecipeError as error:
        return None, [Problem("", str(error).removeprefix(f"{file}: "))]


def structure_problems(recipe: Recipe) -> list[Problem]:
    """Return what breaks the rules of the language."""
    return [Problem("", problem) for problem in graph_problems(recipe)]
