"""The page of a recipe run: its drawing, its tables, and what must not spoil them."""

import base64
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter

import pytest

from flows.recipe.drawing import DrawingFailed, run_drawing
from flows.recipe.drawing.run_drawing import RunDrawing, counts
from flows.recipe.drawing.run_page import ROWS, RunPage, flattened, shortened
from flows.recipe.language.recipe import recipe_from_document
from flows.recipe.run_record.folder import RunFolder
from flows.recipe.run_record.manifest import Manifest
from flows.recipe.run_record.progress import NodeProgress

DOCUMENT = {
    "1": {"queue": "filewatcher", "parameters": {"list": ["/secret" * 1000]}, "output": {"every": 2}},
    "2": {"queue": "notify_gda", "output": 12, "error": 12},
    "12": {"queue": "images"},
    "start": [[1, []]],
}


def records():
    watching = NodeProgress(1, "1 · watch_files", received=1, sent=Counter(every=20), started=1.0)
    telling = NodeProgress(2, "2 · notify_gda", received=20, sent=Counter({"": 3}), started=1.0, finished=2.0)
    telling.refuse("ValueError: `bad` | <b>\nand more")
    return {1: watching, 2: telling, 12: NodeProgress(12, "12 · images")}


@pytest.fixture
def recipe():
    return recipe_from_document(DOCUMENT)


@pytest.fixture
def page(recipe, tmp_path):
    def make(received=None, read=None, **changes):
        received = received or {}
        known = {**received, **(read or {})}
        manifest = Manifest("try_it", "/recipes/try_it.json", "abc123", 7, received, known, DOCUMENT, **changes)
        return RunPage(manifest, RunFolder(tmp_path / "0b1c"), recipe).write(records())

    return make


def drawn(markdown):
    found = re.search(r"!\[graph\]\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", markdown)
    assert found, markdown[:200]
    return ElementTree.fromstring(base64.b64decode(found[1]))


def texts(drawing):
    return [text.text for text in drawing.iter(f"{{{run_drawing.SVG}}}text")]


def test_the_drawing_says_how_far_each_node_has_come(recipe):
    drawing = drawn(RunDrawing(recipe).markdown(records()))
    said = texts(drawing)
    assert {"running · 1 in, 20 out", "failed · 20 in, 3 out, 1 refused", "waiting"} <= set(said)
    assert not any("····" in text for text in said)
    fills = [path.get("fill") for path in drawing.iter(f"{{{run_drawing.SVG}}}path")]
    assert {run_drawing.LOOKS[state].fill for state in ("running", "failed", "waiting")} <= set(fills)


def test_a_drawing_is_laid_out_once(recipe, monkeypatch):
    calls = []
    real = run_drawing.to_svg
    monkeypatch.setattr(run_drawing, "to_svg", lambda *args, **options: calls.append(1) or real(*args, **options))
    drawing = RunDrawing(recipe)
    drawing.prepare()
    assert "running · 1 in, 20 out" in texts(drawn(drawing.markdown(records())))
    later = records()
    later[1].finished = 3.0
    assert "done · 1 in, 20 out" in texts(drawn(drawing.markdown(later)))
    assert calls == [1]


@pytest.mark.parametrize("reason", ["no graphviz", "too large"])
def test_a_drawing_is_text_where_it_can_not_be_an_image(recipe, monkeypatch, reason):
    def fail(*_, **__):
        raise DrawingFailed("no dot")

    if reason == "no graphviz":
        monkeypatch.setattr(run_drawing, "to_svg", fail)
    else:
        monkeypatch.setattr(run_drawing, "LARGEST_DRAWING", 10)
    text = RunDrawing(recipe).markdown(records())
    assert text.startswith("```\n")
    assert "20 in, 3 out, 1 refused" in text


def test_long_parameters_of_nodes_are_not_in_the_page(page):
    text = page()
    assert "secret" not in text
    assert "secret" not in str(texts(drawn(text)))


def test_the_page_has_what_was_asked_and_what_was_read(page):
    text = page({"dc": {"image[dir]": "/a_b", "none": None, "deep": {"x": 1}}}, {"gda_host": "mx-control"})
    asked, read = text.split("## What it was asked for")[1].split("## What it read from ISPyB and the settings")
    assert "| dc\\[image\\[dir\\]\\] | /a\\_b |" in asked
    assert "| dc\\[deep\\]\\[x\\] | 1 |" in asked
    assert "none" not in asked
    assert "| gda\\_host | mx-control |" in read
    for part in ("# try\\_it · dcid 7", "abc123", "/recipes/try\\_it.json", "plaza show 0b1c", "python 3"):
        assert part in text


def test_what_operators_changed_is_told(page):
    text = page(changes=({"at": 1.0, "node": 2, "by": "me", "parameters": {"host": "x"}},))
    assert '| changed by me | node 2\\: \\{"host"\\: "x"\\} |' in text


@pytest.mark.parametrize("value", ["a | b", "`code`", "<script>", "# title", "line\nline", "\x1b[1m", "![x](y)", "a\\"])
def test_no_value_breaks_a_table(page, value):
    text = page({"it": value, value: "it"})
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    tables = [line for line in rows if re.search(r"(?<!\\)\bit\b", line)]
    assert len(tables) == 2
    for line in tables:
        assert len(re.findall(r"(?<!\\)\|", line.replace("\\\\", ""))) == 3


def test_a_page_is_small_whatever_was_asked(page):
    text = page({f"p{number}": "x" * 10_000 for number in range(1000)})
    assert f"… and {1000 - ROWS} more" in text
    assert len(text) < 50_000


def test_a_recipe_of_thirty_nodes_has_an_image_of_some_tens_of_kilobytes():
    nodes = {str(number): {"queue": "images", "output": {"a": number + 1, "b": number + 1}} for number in range(1, 30)}
    recipe = recipe_from_document({**nodes, "30": {"queue": "images"}, "start": [[1, []]]})
    some = {number: NodeProgress(number, str(number), received=5) for number in recipe.nodes}
    text = RunDrawing(recipe).markdown(some)
    assert len(texts(drawn(text))) > 60
    assert len(text) < 65_000


@pytest.mark.parametrize(
    ("parameters", "flat"),
    [
        ({}, []),
        ({"a": "x", "b": 1}, [("a", "x"), ("b", "1")]),
        ({"a": {"b": {"c": [1]}, "d": {}}}, [("a[b][c]", "[1]"), ("a[d]", "{}")]),
    ],
)
def test_parameters_have_the_names_that_recipes_use(parameters, flat):
    assert list(flattened(parameters)) == flat


def test_long_texts_lose_their_middle():
    assert shortened("x" * 160) == "x" * 160
    assert shortened("a" * 100 + "b" * 100, 20) == f"{'a' * 10} … (180 characters) … {'b' * 10}"


@pytest.mark.parametrize(("record", "said"), [(0, ""), (1, "20 in, 3 out, 1 refused")])
def test_counts(record, said):
    assert counts([NodeProgress(1, "x"), records()[2]][record]) == said
