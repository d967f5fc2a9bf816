"""The runs that a recipe run's steps have started, kept in its folder: JSON lines, in order."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from flows.recipe.run_record.folder import RunFolder


@dataclass(frozen=True)
class Child:
    """A run that a step has started.

    Parameters
    ----------
    flow_run
        Its flow run's id.
    what
        Its recipes, or Mimas and the event.
    recipe_id
        Its recipe ID: that of its message, else its flow run's id.
    node
        The node whose step has started it.
    """

    flow_run: str
    what: str
    recipe_id: str
    node: int | None = None


def note_children(folder: RunFolder, children: Iterable[Child]) -> None:
    """Note runs that were started; the same one again does no harm."""
    known = {child.flow_run for child in read_children(folder)}
    lines = [json.dumps(asdict(child)) for child in children if child.flow_run not in known]
    if not lines:
        return
    # Begins on a new line: a process may have been killed while it wrote the last one
    with folder.children.open("ab") as file:
        file.write("".join(f"\n{line}\n" for line in lines).encode())
        file.flush()
        os.fsync(file.fileno())


def read_children(folder: RunFolder) -> list[Child]:
    """Return the runs that a recipe run has started, in order, each once; lines that can't be read are left out."""
    try:
        lines = folder.children.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    return [*{child.flow_run: child for line in lines if (child := _child(line)) is not None}.values()]


def _child(line: bytes) -> Child | None:
    try:
        said: dict[str, Any] = json.loads(line)
        return Child(str(said["flow_run"]), str(said["what"]), str(said["recipe_id"]), said.get("node"))
    except (ValueError, KeyError, TypeError):
        return None
