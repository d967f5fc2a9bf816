"""A recipe for graphviz, and drawn by it as SVG."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from subprocess import CalledProcessError
from typing import TYPE_CHECKING

from blocks.errors import PlazaError
from flows.display_text import escaped
from flows.recipe.drawing.model import GraphNode, Origin, RecipeGraph
from flows.recipe.language.recipe import Recipe

if TYPE_CHECKING:
    from graphviz import Digraph

FONT = "Helvetica,Arial,sans-serif"
VALUE_WIDTH = 48  # characters of a parameter's value in the drawing; all of it is in the tooltip


class DrawingFailed(PlazaError):
    """Graphviz isn't there, or can't draw the recipe."""


@dataclass(frozen=True)
class _Look:
    fill: str
    line: str
    text: str = "#0f172a"
    style: str = "rounded,filled"


PLAIN = _Look("#f8fafc", "#475569")
LOOKS = {
    "waiting": _Look("#f8fafc", "#94a3b8", "#475569"),
    "running": _Look("#dbeafe", "#2563eb"),
    "done": _Look("#dcfce7", "#16a34a"),
    "failed": _Look("#fee2e2", "#dc2626"),
    "not needed": _Look("#ffffff", "#94a3b8", "#94a3b8", "rounded,filled,dashed"),
}
QUIET, ERROR_RED = "#64748b", "#dc2626"


def to_svg(
    recipe: Recipe,
    states: Mapping[int, str] | None = None,
    notes: Mapping[int, str] | None = None,
    *,
    with_parameters: bool = True,
) -> str:
    """Draw a recipe as SVG (see `to_dot`).

    Raises
    ------
    DrawingFailed
        Graphviz isn't installed, or fails.
    """
    from graphviz import ExecutableNotFound

    graph = _digraph(recipe, states or {}, notes or {}, with_parameters)
    try:
        return str(graph.pipe(format="svg", encoding="utf-8"))
    except ExecutableNotFound as error:
        raise DrawingFailed(
            "graphviz's program `dot` isn't there, which draws recipes: install the package graphviz "
            "(apt-get install graphviz, or conda install graphviz)"
        ) from error
    except CalledProcessError as error:
        raise DrawingFailed(f"graphviz can't draw the recipe: {error.stderr or error}") from error


def to_dot(
    recipe: Recipe,
    states: Mapping[int, str] | None = None,
    notes: Mapping[int, str] | None = None,
    *,
    with_parameters: bool = True,
) -> str:
    """Write a recipe in graphviz's language.

    Parameters
    ----------
    recipe
        Valid; filled in or not.
    states
        How far nodes have come: waiting, running, done, failed or not needed; they colour the nodes.
    notes
        What else to say of nodes, in a few words each: counts of messages, say.
    with_parameters
        Whether the nodes show what their steps are told.
    """
    return str(_digraph(recipe, states or {}, notes or {}, with_parameters).source)


def _digraph(recipe: Recipe, states: Mapping[int, str], notes: Mapping[int, str], with_parameters: bool) -> Digraph:
    from graphviz import Digraph, escape

    recipe_graph = RecipeGraph(recipe)
    graph = Digraph("recipe")
    graph.attr(bgcolor="white", pad="0.2", nodesep="0.35", ranksep="0.45", fontname=FONT)
    graph.attr("node", shape="box", fontname=FONT, fontsize="12", margin="0.12,0.06")
    graph.attr("edge", fontname=FONT, fontsize="10", color=QUIET, fontcolor=QUIET, arrowsize="0.7")
    for origin in recipe_graph.order:
        if isinstance(origin, str):
            colour = ERROR_RED if origin == "error" else QUIET
            label = "what fails anywhere" if origin == "error" else origin
            graph.node(_name(origin), label, shape="plaintext", fontcolor=colour, fontsize="11", margin="0.04")
            continue
        look = LOOKS.get(states.get(origin, ""), PLAIN)
        node = recipe_graph.nodes[origin]
        label = _label(node, look, states.get(origin), notes.get(origin), with_parameters)
        tooltip = escape("\n".join(f"{name}: {value}" for name, value in node.parameters.items()) or node.name)
        colours = {"style": look.style, "fillcolor": look.fill, "color": look.line}
        graph.node(_name(origin), label, id=_name(origin), tooltip=tooltip, **colours)
    for edges in recipe_graph.edges.values():
        for edge in edges:
            text = escape(f" {_shortened(edge.text)} ") if edge.text else None
            colours = {"color": ERROR_RED, "fontcolor": ERROR_RED, "style": "dashed"} if edge.is_error else {}
            graph.edge(_name(edge.origin), _name(edge.target), text, **colours)
    return graph


def _name(origin: Origin) -> str:
    return origin if isinstance(origin, str) else f"node_{origin}".replace("-", "minus_")


def _label(node: GraphNode, look: _Look, state: str | None, note: str | None, with_parameters: bool) -> str:
    """Return a node's label in graphviz's HTML: lines, and a table of parameters below them."""
    small = [node.queue if node.queue != node.name else "", f"after {node.delay} s" if node.delay else ""]
    lines = [
        f'<FONT COLOR="{look.text}">{node.number} · <B>{_escaped(node.name)}</B></FONT>',
        _small(" · ".join(part for part in small if part), QUIET),
        _small(" · ".join(part for part in (state, note) if part), look.line),
        _parameter_table(node, look) if with_parameters and node.parameters else "",
    ]
    return f"<{_table('', *([line] for line in lines if line))}>"


def _parameter_table(node: GraphNode, look: _Look) -> str:
    cells = [[_small(name, QUIET), _small(_shortened(value), look.text)] for name, value in node.parameters.items()]
    return _table(' ALIGN="LEFT"', *cells)


def _table(alignment: str, *rows: list[str]) -> str:
    lines = ["".join(f"<TD{alignment}>{cell or ' '}</TD>" for cell in row) for row in rows]
    body = "".join(f"<TR>{line}</TR>" for line in lines)
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="1">{body}</TABLE>'


def _small(text: str, colour: str) -> str:
    return f'<FONT POINT-SIZE="9" COLOR="{colour}">{_escaped(text)}</FONT>' if text.strip() else ""


def _shortened(text: str) -> str:
    """Leave out the middle: of a path, the end says most."""
    if len(text) <= VALUE_WIDTH:
        return text
    half = VALUE_WIDTH // 2
    return f"{text[: half - 1]}…{text[-half:]}"


def _escaped(text: str) -> str:
    # graphviz fails at a text that is one bracket: its parser waits for the rest of "]]>"
    return html.escape(escaped(text)).replace("]", "&#93;") or " "
