"""Where the recipe of a run comes from: a file, or several that are merged as Zocalo's dispatcher does.

A custom recipe, which comes with a message, is kept as a file in the home, named by its digest: runs get that name, and
can be resumed for as long as the home is there. Nothing of Plaza's removes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from blocks.errors import RecipeError
from blocks.settings import get_settings
from flows.recipe.language.files import parse_json, read_text
from flows.recipe.language.merging import merge
from flows.recipe.language.names import SUFFIX, name_fault
from flows.recipe.language.recipe import Recipe
from flows.recipe.language.validation import validated_recipe
from flows.recipe.language.values import shown
from flows.recipe.run_record.manifest import digest_of, document_of
from tasks.step.atomic_file import write_atomically

CUSTOM: Final = "custom recipe"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ReadRecipe:
    """A recipe as it was read.

    Parameters
    ----------
    digest
        SHA-256 of the file's text; of several files, of what they make together.
    """

    recipe: Recipe
    digest: str


@dataclass(frozen=True)
class RecipeSource:
    """The files of a run's recipe, in the order in which they are merged; read at each run.

    Parameters
    ----------
    recipes
        Name and file of those that are the site's own.
    custom
        File of a custom recipe, which comes first.
    """

    recipes: tuple[tuple[str, Path], ...]
    custom: Path | None = None

    @property
    def name(self) -> str:
        """What people call it: `a + b`, `custom recipe + a`."""
        return merged_name(self.names, self.custom)

    @property
    def names(self) -> list[str]:
        """The names of the site's recipes."""
        return [name for name, _ in self.recipes]

    @property
    def files(self) -> tuple[Path, ...]:
        """All files, in order."""
        return (*([self.custom] if self.custom else ()), *(path for _, path in self.recipes))

    def read(self) -> ReadRecipe:
        """Read the files and merge them.

        Raises
        ------
        RecipeError
            One can't be read or breaks a rule of the language; the message names it.
        """
        texts = [read_text(file) for file in self.files]
        recipes = [validated_recipe(text, file) for text, file in zip(texts, self.files, strict=True)]
        if len(recipes) == 1:
            return ReadRecipe(recipes[0], digest_of(texts[0]))
        merged = merge(*recipes)
        return ReadRecipe(merged, digest_of(json.dumps(document_of(merged))))

    def as_request(self) -> dict[str, Any]:
        """Return the keys of Zocalo's message that name these recipes."""
        custom = {} if self.custom is None else {"custom_recipe": parse_json(read_text(self.custom))}
        return {"recipes": self.names, **custom}


def merged_name(names: Iterable[str], custom: object) -> str:
    """Return what people call a run of several recipes, and of a custom one if there is any."""
    return " + ".join([*([CUSTOM] if custom else []), *names])


def file_of(name: str) -> Path:
    """Return the file of one of the site's recipes, whether there is one or not.

    Raises
    ------
    RecipeError
        No recipe can have the name.
    """
    if fault := name_fault(name):
        raise RecipeError(f"no recipe can be called {shown(name)}: {fault}")
    return get_settings().recipe_directory / f"{name}{SUFFIX}"


def merged_source(names: Sequence[str], custom: str | None) -> RecipeSource:
    """Return where the recipe of a run of several comes from.

    Parameters
    ----------
    names
        Of recipes of the site's.
    custom
        What `keep_custom_recipe` called a custom one.

    Raises
    ------
    RecipeError
        There can be no such recipe, or none is named.
    """
    if not names and custom is None:
        raise RecipeError("no recipe is named: expected the names of recipes, a custom one, or both")
    return RecipeSource(
        tuple((name, file_of(name)) for name in names), None if custom is None else custom_recipe_file(custom)
    )


def keep_custom_recipe(document: Mapping[str, Any]) -> str:
    """Keep a custom recipe as a file in the home, and return its name: the same recipe again is the same file.

    Raises
    ------
    OSError
        It can't be written.
    """
    text = json.dumps(document, indent=2)  # its nodes' order stays, by which they are numbered when it's merged
    name = digest_of(text)
    file = custom_recipe_file(name)
    if not file.exists():
        write_atomically(file, text.encode())
    return name


def custom_recipe_file(name: str) -> Path:
    """Return where a custom recipe is kept.

    Raises
    ------
    RecipeError
        None has such a name.
    """
    if not _DIGEST.fullmatch(name):
        raise RecipeError(
            f"no custom recipe is called {shown(name)}: expected the SHA-256 of one, 64 hexadecimal digits"
        )
    return get_settings().home / "custom-recipes" / f"{name}{SUFFIX}"
