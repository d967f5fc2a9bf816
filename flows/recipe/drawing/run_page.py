"""A page about a recipe run, in Markdown for Prefect's UI: its graph, its steps, what filled it, where all of it is."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from flows.display_text import markdown_text
from flows.recipe.drawing.run_drawing import RunDrawing
from flows.recipe.language.recipe import Recipe
from flows.recipe.run_record.folder import RunFolder
from flows.recipe.run_record.manifest import Logbook
from flows.recipe.run_record.progress import NodeRecord

VALUE_CHARACTERS: Final = 160
ROWS: Final = 100


class RunPage:
    """The page of one run.

    Parameters
    ----------
    recipe
        Filled in.
    """

    def __init__(self, logbook: Logbook, folder: RunFolder, recipe: Recipe) -> None:
        self._logbook, self._folder = logbook, folder
        self._drawing = RunDrawing(recipe)

    def prepare(self) -> None:
        """Do what can be done before it's known how far the run will come."""
        self._drawing.prepare()

    def write(self, records: Mapping[int, NodeRecord]) -> str:
        """Write the page."""
        logbook, run = self._logbook, self._folder.recipe_run
        return "\n\n".join(
            [
                f"# {markdown_text(logbook.recipe)} · dcid {'none' if logbook.dcid is None else logbook.dcid}",
                self._drawing.markdown(records),
                _table(("step", "state", "in", "out", "tried again", "refused", "the first refusal"), _steps(records)),
                "## Where it comes from",
                _table(("what", ""), _provenance(logbook, self._folder)),
                f"All of it, with every message: `plaza show {run}`; what the steps say: `plaza logs {run}`",
                "## What it was asked for",
                _parameter_table(logbook.received),
                "## What it read from ISPyB and the settings",
                _parameter_table(_read(logbook)),
            ]
        )


def flattened(parameters: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield parameters as recipes name them, such as `ispyb_dc_info[imageDirectory]`, with their values as text."""
    for path, value in _paths(parameters):
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        yield path[0] + "".join(f"[{name}]" for name in path[1:]), text


def shortened(text: str, characters: int = VALUE_CHARACTERS) -> str:
    """Leave out the middle of a long text."""
    if len(text) <= characters:
        return text
    half = characters // 2
    return f"{text[:half]} … ({len(text) - 2 * half} characters) … {text[-half:]}"


def _paths(parameters: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in parameters.items():
        if isinstance(value, Mapping) and value:
            yield from (((str(name), *path), below) for path, below in _paths(value))
        else:
            yield (str(name),), value


def _steps(records: Mapping[int, NodeRecord]) -> Iterator[Sequence[object]]:
    for record in records.values():
        sent = ", ".join(f"{name or 'unnamed'} {count}" for name, count in record.sent.items())
        refusal = (record.first_refusal or "").partition("\n")[0]
        yield record.label, record.state, record.received, sent, record.retried, record.refused, refusal


def _read(logbook: Logbook) -> dict[str, Any]:
    return {name: value for name, value in logbook.parameters.items() if name not in logbook.received}


def _provenance(logbook: Logbook, folder: RunFolder) -> Iterator[tuple[str, str]]:
    yield "recipe run", folder.recipe_run
    yield "recipe file", logbook.file
    yield "its SHA-256", logbook.digest
    for change in logbook.changes:
        yield f"changed by {change.get('by')}", f"node {change.get('node')}: {json.dumps(change.get('parameters'))}"
    yield "process", f"{os.getpid()} on {socket.gethostname()}"
    yield "versions", ", ".join(f"{package} {version}" for package, version in logbook.versions.items())
    yield "logbook", str(folder.logbook)


def _parameter_table(parameters: Mapping[str, Any]) -> str:
    """Return those that have a value; ISPyB knows many that a data collection doesn't have."""
    rows = [(name, text) for name, text in flattened(parameters) if text != "null"]
    if not rows:
        return "Nothing."
    left_out = f"\n\n… and {len(rows) - ROWS} more" if len(rows) > ROWS else ""
    return _table(("parameter", "value"), rows[:ROWS]) + left_out


def _table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [titles, ["---"] * len(titles)]
    lines += [[markdown_text(shortened(str(cell))) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
