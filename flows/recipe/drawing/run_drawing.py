"""The drawing of a run's recipe, with how far each node has come. Laid out once, then painted as often as need be."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from io import StringIO
from typing import Final
from xml.etree import ElementTree

from rich.console import Console

from flows.recipe.drawing import DrawingFailed, draw_text, to_svg
from flows.recipe.drawing.svg import FONT, LOOKS
from flows.recipe.language.recipe import Recipe
from flows.recipe.run_record.progress import NodeProgress

logger = logging.getLogger(__name__)

LARGEST_DRAWING: Final = 45_000  # bytes of SVG; a recipe of 5 nodes has 5,000, one of 30 with 60 links 44,000
COLUMNS: Final = 110
NOTE_WIDTH: Final = 36  # characters, as in "running · 1000 in, 1000 out"
SVG: Final = "http://www.w3.org/2000/svg"
_NEEDLESS = re.compile(r"<!--.*?-->|<title>.*?</title>| font-family=\"[^\"]*\"| xlink:title=\"[^\"]*\"|\n", re.DOTALL)
_ABSCISSA = re.compile(r"(-?[\d.]+),")

ElementTree.register_namespace("", SVG)


class RunDrawing:
    """A recipe's drawing for Markdown: an image if graphviz is there, text otherwise."""

    def __init__(self, recipe: Recipe) -> None:
        nodes = {number: _without_parameters(node) for number, node in recipe.nodes.items()}
        self._recipe = replace(recipe, nodes=nodes)

    def prepare(self) -> None:
        """Lay the drawing out; takes some 30 ms, most of it in another process."""
        if self._layout is None:
            logger.debug("the recipe is drawn as text")

    def markdown(self, progress: Mapping[int, NodeProgress]) -> str:
        """Return the drawing with each node's state and counts."""
        if self._layout is not None:
            svg = _painted(self._layout, progress)
            return f"![graph](data:image/svg+xml;base64,{base64.b64encode(svg).decode()})"
        states = {number: node.state for number, node in progress.items()}
        text = StringIO()
        drawn = draw_text(self._recipe, states, {number: counts(node) for number, node in progress.items()})
        Console(file=text, width=COLUMNS, color_system=None).print(drawn)
        return f"```\n{text.getvalue().replace('```', '···')}```"

    @cached_property
    def _layout(self) -> str | None:
        """The drawing with a placeholder in each node, wide enough for what will be there; None: can't be drawn."""
        placeholders = {number: str(number).center(NOTE_WIDTH, "·") for number in self._recipe.nodes}
        try:
            svg = to_svg(self._recipe, notes=placeholders, with_parameters=False)
        except DrawingFailed:
            return None
        svg = _NEEDLESS.sub("", svg).replace("<svg ", f'<svg font-family="{FONT}" ', 1)
        return svg if len(svg) <= LARGEST_DRAWING else None


def counts(progress: NodeProgress) -> str:
    """Say in a few words what came to a node and went from it."""
    if not progress.received:
        return ""
    refused = f", {progress.refused} refused" if progress.refused else ""
    left = f", {progress.left} undone" if progress.left else ""
    return f"{progress.received} in, {progress.sent.total()} out{refused}{left}"


def _without_parameters(node: Mapping[str, object]) -> dict[str, object]:
    """Return a node without what could be long; it's in the page's tables or the manifest."""
    return {name: value for name, value in node.items() if name != "parameters"}


def _painted(layout: str, progress: Mapping[int, NodeProgress]) -> bytes:
    drawing = ElementTree.fromstring(layout)
    by_placeholder = {str(number).center(NOTE_WIDTH, "·"): node for number, node in progress.items()}
    for group in drawing.iterfind(f".//{{{SVG}}}g[@class='node']"):
        for text in group.iter(f"{{{SVG}}}text"):
            if node := by_placeholder.get(text.text or ""):
                _paint(group, text, node)
    return ElementTree.tostring(drawing)


def _paint(group: ElementTree.Element, text: ElementTree.Element, progress: NodeProgress) -> None:
    look = LOOKS[progress.state]
    for outline in group.iter(f"{{{SVG}}}path"):
        outline.attrib.update({"fill": look.fill, "stroke": look.line})
        across = [float(x) for x in _ABSCISSA.findall(outline.get("d", ""))]
        text.attrib.update({"x": f"{(min(across) + max(across)) / 2:.1f}", "text-anchor": "middle"})
    text.set("fill", look.line)
    text.text = " · ".join(part for part in (progress.state, counts(progress)) if part)
