"""Change JSON in an editor, or by options of the command line."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import click

from blocks.errors import ConfigurationError, PlazaError, RecipeError
from flows.recipe.language.files import parse_json, read_text
from flows.recipe.language.values import check_value

KEYS: Final = ("payload", "environment")


def edit_in_editor(content: dict[str, Any], name: str) -> dict[str, Any]:
    """Let the user change a payload and an environment, and return them.

    Raises
    ------
    ConfigurationError
        There is no editor, or it fails.
    RecipeError
        What was written can't be used; it's kept in a file, which the message names.
    """
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise ConfigurationError("set $VISUAL or $EDITOR, or say --payload, --payload-file or --set")
    # Not deleted by itself: editors replace files, and what can't be used shall not be lost
    with tempfile.NamedTemporaryFile("w", prefix=f"{name}-", suffix=".json", delete=False, encoding="utf-8") as draft:
        draft.write(json.dumps(content, indent=2) + "\n")
    try:
        click.edit(filename=draft.name, editor=editor)
    except (click.ClickException, ValueError) as error:  # ValueError: quotes that don't close
        raise ConfigurationError(
            f"the editor {editor!r} failed ({error}): nothing changed; see {draft.name}"
        ) from error
    try:
        edited: dict[str, Any] = parse_json(read_text(Path(draft.name)))
        _check(edited)
    except PlazaError as error:
        raise RecipeError(f"{error}; nothing changed, and what you wrote is in {draft.name}") from error
    Path(draft.name).unlink()
    return edited


def edited_payload(payload: Any, text: str | None, file: Path | None, assignments: Iterable[str]) -> Any:
    """Return a payload as options of the command line want it.

    Raises
    ------
    RecipeError
        They can't be used.
    """
    if text is not None and file is not None:
        raise RecipeError("--payload and --payload-file: one of both")
    if text is not None or file is not None:
        payload = parse_json(text if text is not None else read_text(file or Path()))
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not key or not equals:
            raise RecipeError(f"--set {assignment!r}: expected KEY=VALUE")
        if not isinstance(payload, dict):
            raise RecipeError(f"--set {assignment!r}: the payload has no keys, it's a {type(payload).__name__}")
        payload = {**payload, key: _value(value)}
    check_value(payload)
    return payload


def _check(edited: Any) -> None:
    if not isinstance(edited, dict) or set(edited) != set(KEYS):
        seen = ", ".join(map(str, edited)) if isinstance(edited, dict) else type(edited).__name__
        raise RecipeError(f"expected a JSON object of {' and '.join(KEYS)}, seen {seen}")
    if not isinstance(edited["environment"], dict):
        raise RecipeError(f"environment: expected a JSON object, seen a {type(edited['environment']).__name__}")
    check_value(edited)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
