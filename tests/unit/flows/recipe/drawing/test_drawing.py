"""Recipes in the terminal and as SVG: all nodes and links are there, whatever they're called."""

import io
import re
import shutil
import xml.etree.ElementTree as ET

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from flows.recipe.drawing import DrawingFailed, RecipeGraph, draw_text, to_dot, to_svg
from flows.recipe.language.recipe import recipe_from_document
from tests.support.recipe_strategies import recipe_documents

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="needs graphviz's program dot")

WATCH = {"queue": "filewatcher", "parameters": {"list": ["/a"], "of_another_step": 1}}
FAN = {
    "1": WATCH | {"output": {"first": 2, "every": [3, 4]}},
    "2": {"queue": "images", "parameters": {"image_command": "diffraction"}},
    "3": {"queue": "per_image_analysis", "output": [5, 5], "error": 6},
    "4": {"queue": "per_image_analysis", "output": 5},
    "5": {"queue": "notify_gda", "transport-delay": 20},
    "6": {"service": "Somebody <else>"},
    "start": [[1, []], [3, {"file": "/a"}]],
    "error": [6],
}


def drawn(document, width=100, **more):
    console = Console(file=io.StringIO(), width=width)
    console.print(draw_text(recipe_from_document(document), **more))
    return console.file.getvalue()


def test_rails_lead_from_nodes_to_nodes():
    lines = [line.rstrip() for line in drawn(FAN).splitlines()]
    assert lines == [
        "◇       start",
        "├─╮       → 1 watch_files",
        '│ │       {"file": "/a"} → 3 analyse_images',
        "│ ●     1 watch_files  filewatcher",
        '│ │       list  ["/a"]',
        "│ ├─╮     first → 2 make_preview",
        "├─┤ │     every → 3 analyse_images",
        "│ │ │     every → 4 analyse_images",
        "│ │ ●   2 make_preview  images",
        "│ │       image_command  diffraction",
        "● │     3 analyse_images  per_image_analysis",
        "├─┼─╮     result × 2 → 5 notify_gda",
        "│ │ │     error → 6 Somebody <else>",
        "│ ● │   4 analyse_images  per_image_analysis",
        "│ ╰─┤     result → 5 notify_gda",
        "│   ●   5 notify_gda  after 20 s",
        "│ ◇     what fails anywhere",
        "├─╯       → 6 Somebody <else>",
        "●       6 Somebody <else>",
    ]


def test_long_values_go_on_beside_the_rails():
    path = "/dls/" + "very/long/" * 12
    document = {"1": WATCH | {"parameters": {"hdf5": path}, "output": {"every": 2}}, "2": {}, "start": [[1, []]]}
    lines = drawn(document, width=60).splitlines()
    below = [line for line in lines if line.startswith("│") and "→" not in line]
    assert len(below) == 3
    assert all(len(line) <= 60 for line in lines)
    assert "".join(re.sub(r"^│ *(hdf5)? *", "", line) for line in below) == path


def test_states_and_notes_are_told():
    states = {1: "running", 2: "done", 3: "failed", 4: "waiting", 5: "not needed", 6: "never heard of"}
    text = drawn(FAN, states=states, notes={1: "250 of 1000 images", 99: "no such node"})
    assert "1 watch_files  filewatcher  running  250 of 1000 images" in text
    assert all(state in text for state in states.values())
    dot = to_dot(recipe_from_document(FAN), states, {1: "250 of <1000> images"})
    assert "running · 250 of &lt;1000&gt; images" in dot
    assert "dashed" in dot


def test_what_a_terminal_would_obey_is_shown_as_text():
    document = {"1": {"service": "a\x1b[2Jb\nc", "parameters": {"\r": "\x07"}}, "start": [[1, "\x1b"]]}
    text = drawn(document)
    assert "a\\x1b[2Jb\\nc" in text
    assert not set(text) & {"\x1b", "\x07", "\r"}


@needs_dot
def test_svg_shows_nodes_links_and_parameters():
    svg = to_svg(recipe_from_document(FAN), {1: "running"}, {1: "<250> images & more"})
    texts = [element.text for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert {"watch_files", "Somebody <else>", "after 20 s", "running · <250> images & more"} <= set(texts)
    assert sum(text.strip() == "result" for text in texts) == 1
    assert "diffraction" in texts
    short = ET.fromstring(to_svg(recipe_from_document(FAN), with_parameters=False))
    assert "diffraction" not in [element.text for element in short.iter("{http://www.w3.org/2000/svg}text")]


def test_without_graphviz_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "/no/such/folder")
    with pytest.raises(DrawingFailed, match="install the package graphviz"):
        to_svg(recipe_from_document(FAN))


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(recipe_documents(max_nodes=12), st.integers(30, 120))
def test_each_node_and_each_link_is_drawn_once(document, width):
    recipe = recipe_from_document(document)
    graph = RecipeGraph(recipe)
    lines = drawn(document, width=10_000).splitlines()
    numbers = [int(found[1]) for line in lines if (found := re.search(r"● [ │]*(-?\d+) ", line))]
    assert numbers == [origin for origin in graph.order if isinstance(origin, int)]
    assert sorted(numbers) == sorted(recipe.nodes)
    for origin, edges in graph.edges.items():
        if len(edges) > 1 or isinstance(origin, int):
            for edge in edges:
                assert any(f"{edge.text} → {edge.target} ".lstrip() in line for line in lines)
    assert "│" not in [line for line in lines if "● " in line][-1], "a rail leads nowhere"
    assert drawn(document, width=width)


@needs_dot
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(recipe_documents(max_nodes=6), st.text())
@example({"1": {}, "start": [[1, []]]}, "]")
def test_whatever_a_recipe_holds_dot_can_draw_it(document, note):
    recipe = recipe_from_document(document)
    root = ET.fromstring(to_svg(recipe, notes=dict.fromkeys(recipe.nodes, note)))
    groups = [group.get("class") for group in root.iter("{http://www.w3.org/2000/svg}g")]
    graph = RecipeGraph(recipe)
    assert groups.count("node") == len(graph.order)
    assert groups.count("edge") == sum(map(len, graph.edges.values()))
