"""Names of Plaza's modules, and of what is in them, that stand in strings, comments, files and pages are there.

So are the files and folders of `tests` that they name.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
SOURCES = [
    file
    for folder in ("flows", "tasks", "blocks", "tests")
    for file in (CHECKOUT / folder).rglob("*.py")
    if file != Path(__file__)  # its examples name nothing
]
TEXTS = [
    CHECKOUT / "plaza",
    CHECKOUT / "pyproject.toml",
    CHECKOUT / "README.md",
    *(file for file in (CHECKOUT / "deployments").rglob("*") if file.is_file()),
    *(CHECKOUT / "docs").rglob("*.md"),
]

# flows.mimas.flow.mimas, tasks.archiver:archive_filelist, blocks.errors; not the end of a longer name, address or path.
# A word with a hyphen is no attribute: the catalogue has flows of such names, made from recipe files.
DOTTED = re.compile(r"(?<![\w./@:-])(?:flows|tasks|blocks)(?:\.[A-Za-z_]\w*)+(?::[A-Za-z_][\w.]*\w)?(?![\w-])")
# flows/runtime/server.py, tasks/diffraction/; also from within a link: ../../flows/mimas/rules.py
PATH = re.compile(r"(?<![\w-])(?<!\w[./])(?:flows|tasks|blocks)/\w[\w/]*(?:\.py\b)?")

# tests/unit/tasks/step/test_interrupted_steps.py, tests/benchmarks
TEST_PATH = re.compile(r"(?<![\w-])(?<!\w[./])tests/\w+(?:[\w/]*\w)?(?:\.\w+)?")


def texts_of(source: str) -> Iterator[str]:
    """Yield what stands in strings (docstrings and the fixed parts of f-strings too) and comments of Python code."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def programs_of(source: str) -> Iterator[str]:
    """Yield the modules that Python code starts: the constants that follow `"-m"` in a list or tuple."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.List | ast.Tuple):
            words = [word.value if isinstance(word, ast.Constant) else None for word in node.elts]
            yield from (module for option, module in pairwise(words) if option == "-m" and isinstance(module, str))


def names_in(text: str) -> Iterator[str]:
    """Yield the dotted names in a text, and its paths of modules as such names."""
    yield from DOTTED.findall(text)
    yield from (path.removesuffix(".py").strip("/").replace("/", ".") for path in PATH.findall(text))


def paths_of_tests_in(text: str) -> Iterator[str]:
    """Yield the paths of tests in a text."""
    yield from TEST_PATH.findall(text)


def where_named(names_of: Callable[[str], Iterable[str]]) -> dict[str, set[str]]:
    """Return all names, and for each the files in which it stands."""
    files = defaultdict(set)
    for file in SOURCES:
        for text in texts_of(file.read_text()):
            for name in names_of(text):
                files[name].add(str(file.relative_to(CHECKOUT)))
    for file in TEXTS:
        for name in names_of(file.read_text()):
            files[name].add(str(file.relative_to(CHECKOUT)))
    return files


NAMES = where_named(names_in)


def named(name: str) -> object:
    """Import the module and return it, or what the rest of the name says in it."""
    words = re.split("[.:]", name)
    found: object = import_module(words[0])
    for number, word in enumerate(words[1:], 2):
        if not hasattr(found, word):
            import_module(".".join(words[:number]))  # it isn't an attribute: no other way for it to be there
        found = getattr(found, word)
    return found


@pytest.mark.parametrize("name", sorted(NAMES))
def test_name_is_there(name):
    try:
        named(name)
    except (AttributeError, ImportError) as error:
        pytest.fail(f"{name} stands in {', '.join(sorted(NAMES[name]))}: {error}", pytrace=False)


def test_tests_that_are_named_are_there():
    paths = where_named(paths_of_tests_in)
    assert paths
    assert {path: files for path, files in paths.items() if not (CHECKOUT / path).exists()} == {}


def test_modules_that_are_started_are_there():
    started = {module: file.name for file in SOURCES for module in programs_of(file.read_text())}
    assert started
    with warnings.catch_warnings():
        # Who looks for pip where DIALS is imported, as another test may have done, is told of distutils
        warnings.filterwarnings("ignore", "Setuptools is replacing distutils")
        assert {module: file for module, file in started.items() if find_spec(module) is None} == {}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("python -m flows.runtime.server --port N", ["flows.runtime.server"]),
        (
            'entrypoint: flows.mimas.flow.mimas\n"tasks.archiver:archive"',
            ["flows.mimas.flow.mimas", "tasks.archiver:archive"],
        ),
        (
            "As tasks.step says. (flows/mimas/rules.py), [it](../../blocks/errors.py).",
            ["tasks.step", "flows.mimas.rules", "blocks.errors"],
        ),
        ("in `flows/recipe/`", ["flows.recipe"]),
        ("tests/unit/flows/x.py, my_flows.x, https://a.b/flows.html, recipe.tasks.x, flows and tasks.", []),
    ],
)
def test_names_are_found_in_texts(text, names):
    assert list(names_in(text)) == names


def test_paths_of_tests_are_found_in_texts():
    text = (
        'See tests/unit/flows/x.py, "tests/benchmarks/**"; `tests/support/site/` and https://a.b/tests/c, my-tests/d.'
    )
    assert list(paths_of_tests_in(text)) == ["tests/unit/flows/x.py", "tests/benchmarks", "tests/support/site"]


def test_strings_and_comments_are_searched():
    source = 'def f():\n    """tasks.a"""\n    x = f"tasks.b{f}" "tasks.c"  # tasks.d\n'
    assert sorted(name for text in texts_of(source) for name in names_in(text)) == [
        "tasks.a",
        "tasks.b",
        "tasks.c",
        "tasks.d",
    ]
