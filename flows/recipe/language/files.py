"""Read text and JSON files that people write; what is wrong with one is told with its name."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from blocks.errors import RecipeError
from tasks.regular_files import read_regular

STANDARD_INPUT = Path("-")
LARGEST_FILE = 64 * 2**20
"""Bytes: recipes have some kilobytes, lists of commands or parameters some megabytes."""


_OPENED = frozenset(map(Path, ("/dev/stdin", "/dev/null")))
_SHELLS_PIPES = frozenset(map(Path, ("/dev/fd", "/proc/self/fd")))


def read_text(path: Path) -> str:
    """Read a file of UTF-8 text; `-` is standard input.

    Raises
    ------
    RecipeError
        It can't be read or isn't UTF-8; the message names the file.
    """
    try:
        content = _read(path)
        if len(content) > LARGEST_FILE:
            raise RecipeError(f"{path}: expected at most {LARGEST_FILE // 2**20} MB")
        return content.decode("utf-8")
    except OSError as error:
        raise RecipeError(f"{path}: can't be read: {error.strerror or error}") from error
    except ValueError as error:  # no UTF-8; or a NUL in the name
        raise RecipeError(f"{path}: can't be read: {error}") from error


def _read(path: Path) -> bytes:
    """Return no more of a file than shows that it's too large; what is no file, and may block, isn't read."""
    if path == STANDARD_INPUT:
        return sys.stdin.buffer.read(LARGEST_FILE + 1)
    if _is_given_open(path):
        with path.open("rb") as file:
            return file.read(LARGEST_FILE + 1)
    return read_regular(path, LARGEST_FILE + 1)


def _is_given_open(path: Path) -> bool:
    """Tell whether a path names what a shell has opened for us, such as `<(command)`; a link there is none."""
    return path in _OPENED or path.parent in _SHELLS_PIPES


def parse_json(text: str) -> Any:
    """Parse JSON text; of a key that stands twice the last one counts.

    Raises
    ------
    RecipeError
        It isn't JSON.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        raise RecipeError(f"not JSON: {error}") from error
    except RecursionError as error:
        raise RecipeError("not JSON: nested too deeply") from error


def read_parameters_file(path: Path) -> dict[str, Any]:
    """Read a JSON object of parameters by name.

    Raises
    ------
    RecipeError
        The file can't be read or holds something else; the message names it.
    """
    from flows.recipe.language.values import check_value

    text = read_text(path)
    try:
        parameters = parse_json(text)
        check_value(parameters)
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from error
    if not isinstance(parameters, dict):
        raise RecipeError(f"{path}: expected a JSON object of parameters, seen a {type(parameters).__name__}")
    return parameters
