"""The Python programs that ours start: none takes modules from the folder that its user is in."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCES = [file for folder in ("blocks", "deployments", "flows", "tasks") for file in (CHECKOUT / folder).rglob("*.py")]


def unsafe_starts(source: str) -> Iterator[int]:
    """Yield the lines at which Python is started without -P; options of other names can't be told."""
    for node in ast.walk(ast.parse(source)):
        words = node.args if isinstance(node, ast.Call) else node.elts if isinstance(node, ast.List | ast.Tuple) else []
        for program, option in pairwise(words):
            is_known = isinstance(option, ast.Constant) and isinstance(option.value, str)
            if ast.unparse(program) == "sys.executable" and is_known and "P" not in option.value:
                yield program.lineno


def test_every_start_of_python_is_safe_in_a_folder_where_others_write():
    found = [f"{file.relative_to(CHECKOUT)}:{line}" for file in SOURCES for line in unsafe_starts(file.read_text())]
    assert not found


@pytest.mark.parametrize("start", ['[sys.executable, "-m", "x"]', 'run(sys.executable, "-c", "pass")'])
def test_unsafe_starts_are_found(start):
    assert [*unsafe_starts(start)] == [1]
