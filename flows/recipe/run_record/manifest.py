"""A recipe run's manifest: what it was asked for, what it read, the recipe that came of it, and on what it runs."""

from __future__ import annotations

import getpass
import hashlib
import platform
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from blocks.errors import UnknownRecipeRun
from blocks.identifiers import Dcid
from flows.recipe.language.recipe import Recipe, recipe_from_document
from flows.recipe.run_record.folder import RunFolder
from flows.recipe.run_record.lenient_json import decode, encode
from tasks.diffraction.installed_dials import dials_version
from tasks.step.atomic_file import write_atomically

STRUCTURE: Final = frozenset({"queue", "service", "output", "error", "parameters"})  # what makes a node one of a recipe
PACKAGES: Final = ("plaza", "prefect", "distributed", "ispyb")


@dataclass(frozen=True)
class Manifest:
    """What is kept of a recipe run beside its messages.

    Parameters
    ----------
    recipe, file, digest
        The recipe's name, the file that it was read from, and the SHA-256 of what stood there; of several that were
        merged, their names, their files, and the digest of what they made.
    dcid
        The data collection, if the run has one.
    received
        The parameters that came with the call: Zocalo's message to the dispatcher.
    parameters
        All that filled the recipe: what was received, what ISPyB said, what the site's settings say.
    filled
        The recipe with its placeholders filled, as a JSON document.
    changes
        What operators changed in it since: `at`, `node`, `parameters` each.
    versions
        Package to version; also that of Python.
    ended
        `at`, `state` and `message`; None while the run goes on, and if it was killed.
    recipe_id
        Zocalo's recipe ID: as the run's message gave it, else the run's id. Empty in runs of Plaza 0.1.
    parent
        The recipe run whose step started this one; None if none did.
    """

    recipe: str
    file: str
    digest: str
    dcid: Dcid | None
    received: Mapping[str, Any]
    parameters: Mapping[str, Any]
    filled: Mapping[str, Any]
    changes: tuple[Mapping[str, Any], ...] = ()
    versions: Mapping[str, str] = field(default_factory=lambda: _versions())
    ended: Mapping[str, Any] | None = None
    recipe_id: str = ""
    parent: str | None = None

    def filled_recipe(self) -> Recipe:
        """Return the filled recipe, with what operators changed."""
        return recipe_from_document(self.filled)

    def with_changes(self, node: int, parameters: Mapping[str, Any]) -> Manifest:
        """Return a manifest in which a node has other parameters.

        What the recipe has beside the node's parameters, such as `gridinfo`, is changed there.
        """
        old = self.filled[str(node)]
        own = old.get("parameters") or {}
        beside = {name: value for name, value in parameters.items() if name in old.keys() - own.keys() - STRUCTURE}
        within = {name: value for name, value in parameters.items() if name not in beside}
        changed = {**old, **beside, "parameters": {**own, **within}}
        change = {"at": time.time(), "node": node, "parameters": dict(parameters), "by": getpass.getuser()}
        return replace(self, filled={**self.filled, str(node): changed}, changes=(*self.changes, change))

    def write(self, folder: RunFolder) -> None:
        """Write the manifest in place of the run's last one."""
        write_atomically(folder.manifest, encode(self) + b"\n")


def read_manifest(folder: RunFolder) -> Manifest:
    """Read the manifest of a run.

    Raises
    ------
    UnknownRecipeRun
        The run has none: it never came to run its recipe.
    ValueError
        It's damaged.
    """
    try:
        return decode(folder.manifest.read_bytes(), Manifest, is_strict=False)
    except FileNotFoundError:
        raise UnknownRecipeRun(
            f"recipe run {folder.recipe_run} has no manifest ({folder.manifest}): it failed before its recipe was "
            "filled"
        ) from None


def document_of(recipe: Recipe) -> dict[str, Any]:
    """Return a filled recipe as a JSON document; what ISPyB says that isn't JSON's, such as times, becomes text."""
    document: dict[str, Any] = {str(number): node for number, node in recipe.nodes.items()}
    return decode(encode({**document, "start": recipe.start, "error": recipe.error}), dict)


def digest_of(text: str) -> str:
    """Return the SHA-256 of a recipe file's text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):  # Plaza from a folder on the path
            versions[package] = version(package)
    if dials := dials_version():
        versions["dials"] = dials
    return versions
