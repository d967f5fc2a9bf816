"""A page about a recipe run, in Markdown for Prefect's UI: its graph, its steps, what filled it, where all of it is."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from flows.display_text import markdown_text, shortened
from flows.recipe.drawing.run_drawing import RunDrawing
from flows.recipe.language.recipe import Recipe
from flows.recipe.run_record.folder import RunFolder
from flows.recipe.run_record.manifest import Manifest
from flows.recipe.run_record.progress import NodeProgress

VALUE_CHARACTERS: Final = 160
ROWS: Final = 100  # of parameters; `plaza show` has them all
STEP_TITLES: Final = ("step", "state", "in", "out", "tried again", "refused", "left undone", "the first reason")


class RunPage:
    """The page of one run.

    Parameters
    ----------
    recipe
        Filled in.
    """

    def __init__(self, manifest: Manifest, folder: RunFolder, recipe: Recipe) -> None:
        self._manifest, self._folder = manifest, folder
        self._drawing = RunDrawing(recipe)

    def prepare(self) -> None:
        """Do what can be done before it's known how far the run will come."""
        self._drawing.prepare()

    def write(self, progress: Mapping[int, NodeProgress]) -> str:
        """Write the page."""
        manifest, run = self._manifest, self._folder.recipe_run
        return "\n\n".join(
            [
                f"# {markdown_text(manifest.recipe)} · dcid {'none' if manifest.dcid is None else manifest.dcid}",
                self._drawing.markdown(progress),
                _table(STEP_TITLES, _steps(progress)),
                *_notes(progress),
                "## Where it comes from",
                _table(("what", ""), _provenance(manifest, self._folder)),
                f"All of it, with every message: `plaza show {run}`; what the steps say: `plaza logs {run}`",
                "## What it was asked for",
                _parameter_table(manifest.received),
                "## What it read from ISPyB and the settings",
                _parameter_table(_read(manifest)),
            ]
        )


def flattened(parameters: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield parameters as recipes name them, such as `ispyb_dc_info[imageDirectory]`, with their values as text."""
    for path, value in _paths(parameters):
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        yield path[0] + "".join(f"[{name}]" for name in path[1:]), text


def _paths(parameters: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in parameters.items():
        if isinstance(value, Mapping) and value:
            yield from (((str(name), *path), below) for path, below in _paths(value))
        else:
            yield (str(name),), value


def _steps(progress: Mapping[int, NodeProgress]) -> Iterator[Sequence[object]]:
    for node in progress.values():
        sent = ", ".join(f"{name or 'unnamed'} {count}" for name, count in node.sent.items())
        reason = (node.first_refusal or node.first_left or node.without_answer or "").partition("\n")[0]
        yield node.label, node.state, node.received, sent, node.retried, node.refused, node.left, reason


def _notes(progress: Mapping[int, NodeProgress]) -> Iterator[str]:
    """Yield what the steps noted of their work, if any did."""
    lines = [f"{node.label}: {line}" for node in progress.values() for line in node.notes.lines()]
    if lines:
        yield "## What the steps say of their work"
        yield "\n".join(f"- {markdown_text(line)}" for line in lines)


def _read(manifest: Manifest) -> dict[str, Any]:
    return {name: value for name, value in manifest.parameters.items() if name not in manifest.received}


def _provenance(manifest: Manifest, folder: RunFolder) -> Iterator[tuple[str, str]]:
    yield "recipe run", folder.recipe_run
    if manifest.recipe_id not in ("", folder.recipe_run):
        yield "recipe ID", manifest.recipe_id
    if manifest.parent:
        yield "started by recipe run", manifest.parent
    yield "recipe file", manifest.file
    yield "its SHA-256", manifest.digest
    for change in manifest.changes:
        yield f"changed by {change.get('by')}", f"node {change.get('node')}: {json.dumps(change.get('parameters'))}"
    yield "process", f"{os.getpid()} on {socket.gethostname()}"
    yield "versions", ", ".join(f"{package} {version}" for package, version in manifest.versions.items())
    yield "manifest", str(folder.manifest)


def _parameter_table(parameters: Mapping[str, Any]) -> str:
    """Return those that have a value; ISPyB knows many that a data collection doesn't have."""
    rows = [(name, text) for name, text in flattened(parameters) if text != "null"]
    if not rows:
        return "Nothing."
    left_out = f"\n\n… and {len(rows) - ROWS} more" if len(rows) > ROWS else ""
    return _table(("parameter", "value"), rows[:ROWS]) + left_out


def _table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [titles, ["---"] * len(titles)]
    lines += [[markdown_text(shortened(str(cell), VALUE_CHARACTERS)) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
