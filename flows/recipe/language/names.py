"""What a recipe may be called: its file is `NAME.json`, and the name is its flow's in Prefect and part of addresses."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tasks.regular_files import unfit_kind

SUFFIX: Final = ".json"
MOST_BYTES: Final = 255 - len(SUFFIX)  # of a file's name file systems take 255
OWN_FLOWS: Final = frozenset({"merged-recipe", "mimas", "pickup"})
"""Flows that are no recipe's; a test compares them with what we deploy."""

_RECIPES_TOO: Final = frozenset({"mimas"})  # Zocalo's recipe of it, where a site has that: its deployment is another

_REFUSED: Final = "/%&<>?#\\"
"""The first five Prefect refuses in flows' names; after the others an address ends, or is another one."""


def name_fault(name: str) -> str | None:
    """Say why a recipe can't have a name; None if it can."""
    if name in OWN_FLOWS - _RECIPES_TOO:
        return "that is the name of a flow of Plaza's own"
    if not name or name.startswith("."):
        return "it is empty or starts with a dot, as hidden files' names do"
    if name.startswith("-"):
        return "it starts with a dash, as options of commands do"
    if name != name.strip():
        return "it starts or ends with a blank"
    if not name.isprintable():
        return "it has characters that can't be printed, or isn't UTF-8"
    if (size := len(name.encode())) > MOST_BYTES:
        return f"it has {size} bytes, and the name of a file can't have more than {MOST_BYTES} besides {SUFFIX}"
    found = [character for character in _REFUSED if character in name]
    return (
        f"it has {' '.join(found)}: Prefect and addresses of deployments can't have {' '.join(_REFUSED)}"
        if found
        else None
    )


def recipe_name(file: Path) -> str:
    """Return the name of a file's recipe."""
    return file.name.removesuffix(SUFFIX)


def file_fault(file: Path) -> str | None:
    """Say why a file of the recipe folder can't be deployed, whatever is in it; None if it can."""
    if fault := name_fault(recipe_name(file)):
        return f"no recipe can be called {recipe_name(file)!r}: {fault}; rename the file"
    if not file.is_file():
        return "it is no file, or leads to none"
    kind = unfit_kind(str(file))
    return f"it {kind}" if kind else None
