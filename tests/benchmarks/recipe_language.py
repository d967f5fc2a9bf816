"""Time reading, checking and filling a recipe of 30 nodes, beside Zocalo's own package doing the same.

python -m tests.benchmarks.recipe_language

The package `workflows` is fetched from PyPI into a folder of its own that goes away again; Plaza doesn't use it.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

import psutil

from flows.recipe.language.merging import merge
from flows.recipe.language.recipe import Recipe, links, parse_recipe
from flows.recipe.language.substitution import fill_recipe
from flows.recipe.language.validation import read_recipe, validate
from tests.support.checkout import CHECKOUT

RECIPES = CHECKOUT / "recipes"
NODES = 30
ROUNDS = 400

NAMES = {"ispyb_dcid": 1234567, "ispyb_image_first": 1, "ispyb_image_last": 3600, "operators": ["a@b", "c@d"]}
FOLDER = "/dls/i03/data/2026/mx1-1/processed/lyso/lyso_1/0f1e2d3c"


def main() -> None:
    """Fetch the other package, and measure in a process that sees both."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, "workflows"]
        subprocess.run(pip, check=True, stderr=subprocess.DEVNULL)
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([folder, str(RECIPES.parent)])}
        subprocess.run([sys.executable, __file__, "--measure"], check=True, env=environment)


def thirty_nodes() -> str:
    """Return the text of shipped recipes merged until they have as many nodes."""
    shipped = itertools.cycle(read_recipe(path) for path in sorted(RECIPES.glob("*.json")))
    recipe = next(shipped)
    while len(recipe.nodes) < NODES:
        following = next(shipped)
        if len(recipe.nodes) + len(following.nodes) <= NODES or len(following.nodes) == 1:
            recipe = merge(recipe, following)
    return recipe.to_json()


def parameters_for(text: str) -> dict[str, Any]:
    """Return parameters for all of ISPyB's names in a recipe's text, some of them long."""
    parameters: dict[str, Any] = {}
    for name, key in re.findall(r"(ispyb_\w+)(?:\[(\w+)\])?", text):
        if key:
            parameters.setdefault(name, {})[key] = FOLDER
        else:
            parameters.setdefault(name, FOLDER)
    return parameters | NAMES


def measure() -> None:
    """Print the figures."""
    from workflows.recipe import Recipe as ZocaloRecipe

    text = thirty_nodes()
    parsed, parameters = parse_recipe(text), parameters_for(text)
    print(
        f"{len(parsed.nodes)} nodes, {sum(len(list(links(node))) for node in parsed.nodes.values())} links, "
        f"{text.count('{ispyb')} placeholders, {len(text)} bytes; "
        f"load {psutil.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores; {ROUNDS} rounds in turn"
    )

    def plaza() -> Recipe:
        recipe = parse_recipe(text)
        validate(recipe)
        return fill_recipe(recipe, parameters)

    def zocalo() -> Any:
        recipe = ZocaloRecipe(text)
        recipe.validate()
        recipe.apply_parameters(parameters)
        return recipe

    first = {"Plaza, the first time": once(plaza), "workflows, the first time": once(zocalo)}
    assert plaza() == zocalo().recipe, "both must come to the same"
    times = in_turn(
        {
            "Plaza": plaza,
            "workflows": zocalo,
            "Plaza, parse": lambda: parse_recipe(text),
            "Plaza, validate": lambda: validate(parsed),
            "Plaza, fill": lambda: fill_recipe(parsed, parameters),
            "json.loads alone": lambda: json.loads(text),
        }
    )
    for what, milliseconds in (first | times).items():
        print(f"{what:26} {milliseconds:6.3f} ms")
    print(f"ratio workflows / Plaza    {times['workflows'] / times['Plaza']:6.2f}")


def once(work: Callable[[], object]) -> float:
    """Return how many milliseconds some work takes."""
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def in_turn(works: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median milliseconds of each of several works, done in turn so that all meet the same machine."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            times[name].append(once(work))
    return {name: statistics.median(some) for name, some in times.items()}


if __name__ == "__main__":
    measure() if "--measure" in sys.argv else main()
