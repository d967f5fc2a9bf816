"""Zocalo's recipe IDs: what a message calls its run, and which runs of ours were called so.

A message may bring an ID of its own (`guid`), by which whoever sent it finds logs, folders and results; without one the
flow run's id is the recipe ID. The index has a file for each run that has one, named by
both, so that a run is found while it's under way, by the start of its ID, without a look into thousands of manifests.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from blocks.home_folder import RECIPE_IDS
from blocks.settings import get_settings
from flows.display_text import one_line, shortened
from tasks.step.atomic_file import write_atomically

logger = logging.getLogger(__name__)

GUID: Final = "guid"
"""The parameter that brings a run's recipe ID."""
TEXT_CHARACTERS: Final = 200
NAME_CHARACTERS: Final = 100  # of a part of a path, which may have 255 bytes; uuids have 36
LEAST_CHARACTERS: Final = 3  # with fewer, Zocalo's dispatcher writes no logbook
_UNFIT: Final = re.compile(r"[^A-Za-z0-9-]")
_RUN: Final = "~"
_DIGEST: Final = "."
"""These two are in no cleaned ID: they part what an entry's name says."""


@dataclass(frozen=True)
class RecipeId:
    """A run's recipe ID.

    Parameters
    ----------
    text
        As it was given, in a line that isn't long: for messages' environments, log lines and people.
    name
        What of it may be part of a path.
    given
        What the message said; None: nothing, and it's the flow run's id.
    """

    text: str
    name: str
    given: str | None = None


def recipe_id_of(parameters: Mapping[str, Any], flow_run: str) -> RecipeId:
    """Return the recipe ID of a run: that of its message, else its flow run's id.

    Folders are named by the flow run's id, too, where hardly anything of the message's may be part of a path.
    """
    given = given_guid(parameters)
    if given is None:
        return RecipeId(flow_run, flow_run)
    text, cleaned = shortened(one_line(given), TEXT_CHARACTERS), clean(given)
    return RecipeId(text, cleaned if len(cleaned) >= LEAST_CHARACTERS else flow_run, given)


def given_guid(parameters: Mapping[str, Any]) -> str | None:
    """Return the ID that a message brings; None if it brings none: what is no text nor a number isn't one."""
    guid = parameters.get(GUID)
    if isinstance(guid, bool) or not isinstance(guid, str | int):
        return None
    return str(guid) or None


def clean(guid: str) -> str:
    """Return what of an ID may be part of a path: letters, digits and hyphens; for the end of a long one, a digest."""
    cleaned = _UNFIT.sub("", guid)
    if len(cleaned) <= NAME_CHARACTERS:
        return cleaned
    digest = _digest(guid)
    return f"{cleaned[: NAME_CHARACTERS - len(digest) - 1]}-{digest}"


def note_recipe_id(recipe_id: RecipeId, flow_run: str, home: Path | None = None) -> None:
    """Have a flow run found by the ID that its message brought; warns if that can't name the run's folders.

    A run that can't be noted runs all the same: it's found by its flow run's id.
    """
    if recipe_id.given is None:
        return
    cleaned = clean(recipe_id.given)
    if len(cleaned) < LEAST_CHARACTERS:
        logger.warning(
            "the guid %r has fewer than %d letters, digits and hyphens: folders are named by the flow run's id, %s",
            *(recipe_id.text, LEAST_CHARACTERS, flow_run),
        )
    digest = "" if cleaned == recipe_id.given else f"{_DIGEST}{_digest(recipe_id.given)}"
    file = _folder(home) / f"{cleaned}{digest}{_RUN}{flow_run}"
    try:
        write_atomically(file, json.dumps({"recipe_ID": recipe_id.text}).encode() + b"\n")
    except OSError as error:
        logger.warning("the run won't be found by its guid %s: %s can't be written (%s)", recipe_id.text, file, error)


def runs_called(name: str, home: Path | None = None) -> tuple[list[str], bool]:
    """Return the flow runs whose recipe ID, as given or cleaned, is a name, and True; else those where it starts so."""
    matches = list(_matches(name, _folder(home)))
    whole = [run for run, is_whole in matches if is_whole]
    return sorted(whole or (run for run, _ in matches)), bool(whole)


def _matches(name: str, folder: Path) -> Iterator[tuple[str, bool]]:
    is_clean = clean(name) == name
    digest, start = _digest(name), one_line(name)
    try:
        entries = [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        called, _, run = entry.rpartition(_RUN)
        if not name or not called or not run:  # none of ours, or one that is being written
            continue
        cleaned, _, entry_digest = called.partition(_DIGEST)
        if entry_digest == digest or (is_clean and cleaned == name):
            yield run, True
        elif (is_clean and cleaned.startswith(name)) or (entry_digest and _text(folder / entry).startswith(start)):
            yield run, False


def _text(entry: Path) -> str:
    try:
        return str(json.loads(entry.read_bytes())["recipe_ID"])
    except (OSError, ValueError, KeyError, TypeError):  # its name says most of it, too
        return ""


def _digest(guid: str) -> str:
    return hashlib.sha256(guid.encode(errors="surrogatepass")).hexdigest()[:16]


def _folder(home: Path | None) -> Path:
    return (home or get_settings().home) / RECIPE_IDS
