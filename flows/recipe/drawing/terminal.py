"""A recipe in the terminal: a line for each node and each link, beside rails that lead from one to the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.text import Text

from flows.display_text import escaped
from flows.recipe.drawing.model import Edge, GraphNode, Origin, RecipeGraph
from flows.recipe.language.recipe import Recipe

SYMBOLS = {
    "waiting": ("○", "dim"),
    "running": ("●", "bold blue"),
    "done": ("●", "green"),
    "failed": ("✖", "bold red"),
    "not needed": ("◌", "dim"),
}
PLAIN = ("●", "bold")
NARROWEST = 20  # columns of text beside the rails


def draw_text(recipe: Recipe, states: Mapping[int, str] | None = None, notes: Mapping[int, str] | None = None) -> Group:
    """Draw a recipe for `rich.print`.

    Parameters
    ----------
    recipe
        Valid; filled in or not.
    states
        How far nodes have come: waiting, running, done, failed or not needed.
    notes
        What else to say of nodes, in a few words each.
    """
    lines = list(_lines(RecipeGraph(recipe), states or {}, notes or {}))
    width = max(line.rails.cell_len for line in lines)
    for line in lines:
        line.rails.pad_right(width - line.rails.cell_len)
        line.rails_below.pad_right(width - line.rails_below.cell_len)
    return Group(*lines)


@dataclass
class _Line:
    """Rails, and a text that is wrapped beside them; the rails go on beside its further lines."""

    rails: Text
    rails_below: Text
    text: Text
    indent: int = 0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(options.max_width - self.rails.cell_len - 2, self.indent + NARROWEST)
        breaks = range(width, len(self.text), width - self.indent)  # anywhere: paths have no blanks
        for index, part in enumerate(self.text.divide(breaks)):
            margin = " " * self.indent if index else ""
            yield Text.assemble(self.rails_below if index else self.rails, "  ", margin, part, no_wrap=True)


@dataclass
class _Rails:
    """The rails that are open: each leads down to a node, and has a column."""

    columns: list[Origin | None] = field(default_factory=list)

    def column_of(self, node: Origin) -> int | None:
        return self.columns.index(node) if node in self.columns else None

    def open(self, node: Origin, right_of: int = -1) -> int:
        """Give a node the first free column on the right of another."""
        for column in range(right_of + 1, len(self.columns)):
            if self.columns[column] is None:
                self.columns[column] = node
                return column
        self.columns.append(node)
        return len(self.columns) - 1

    def draw(
        self, symbols: Mapping[int, tuple[str, str]] | None = None, bar: range = range(0), style: str = ""
    ) -> Text:
        """Draw a line of rails, with symbols at some columns and a bar from one column to another."""
        text = Text()
        for column, node in enumerate(self.columns):
            crosses = column in bar
            rail = ("┼" if node is not None else "─") if crosses else ("│" if node is not None else " ")
            symbol, own_style = (symbols or {}).get(column, (rail, style if crosses and node is None else "dim"))
            text.append(symbol, own_style)
            text.append("─" if crosses and column + 1 in bar else " ", style)
        return text

    def close_last(self) -> None:
        """Drop free columns at the right."""
        while self.columns and self.columns[-1] is None:
            self.columns.pop()


def _lines(graph: RecipeGraph, states: Mapping[int, str], notes: Mapping[int, str]) -> Iterator[_Line]:
    rails = _Rails()
    for origin in graph.order:
        column = rails.column_of(origin)
        if column is None:
            column = rails.open(origin)
        yield from _node_lines(graph, origin, column, rails, states, notes)
        yield from _edge_lines(graph, graph.edges[origin], column, rails)
        rails.close_last()


def _node_lines(
    graph: RecipeGraph,
    origin: Origin,
    column: int,
    rails: _Rails,
    states: Mapping[int, str],
    notes: Mapping[int, str],
) -> Iterator[_Line]:
    goes_on = bool(graph.edges[origin])
    below = rails.draw() if goes_on else rails.draw({column: (" ", "")})
    if isinstance(origin, str):
        symbol, style = ("◇", "bold red") if origin == "error" else ("◇", "bold")
        title = Text("what fails anywhere" if origin == "error" else origin, style)
        yield _Line(rails.draw({column: (symbol, style)}), below, title)
        return
    node = graph.nodes[origin]
    symbol, style = SYMBOLS.get(states.get(origin, ""), PLAIN)
    yield _Line(
        rails.draw({column: (symbol, style)}), below, _title(node, states.get(origin), style, notes.get(origin))
    )
    width = max(map(len, node.parameters), default=0)
    for name, value in node.parameters.items():
        text = Text.assemble("  ", (f"{name:{width}}", "dim"), "  ", value)
        yield _Line(below, below, text, indent=width + 4)


def _title(node: GraphNode, state: str | None, style: str, note: str | None) -> Text:
    text = Text.assemble((f"{node.number} ", style), (node.name, "bold"))
    if node.queue and node.queue != node.name:
        text.append(f"  {node.queue}", "cyan")
    if node.delay:
        text.append(f"  after {node.delay} s", "yellow")
    if state:
        text.append(f"  {escaped(state)}", style)
    if note:
        text.append(f"  {escaped(note)}")
    return text


def _edge_lines(graph: RecipeGraph, edges: list[Edge], column: int, rails: _Rails) -> Iterator[_Line]:
    """Lead a node's edges to the rails of their targets; the last one takes the node's own column if it can."""
    if len(edges) == 1 and _is_obvious(edges[0], rails):
        rails.columns[column] = edges[0].target
        return
    for edge in edges[:-1]:
        yield _branch(graph, edge, column, rails, is_last=False)
    if edges:
        yield _branch(graph, edges[-1], column, rails, is_last=True)
    else:
        rails.columns[column] = None


def _is_obvious(edge: Edge, rails: _Rails) -> bool:
    """Tell whether the rail says it all: just one thing is started, or told of what fails."""
    return isinstance(edge.origin, str) and not edge.text and rails.column_of(edge.target) is None


def _branch(graph: RecipeGraph, edge: Edge, column: int, rails: _Rails, *, is_last: bool) -> _Line:
    style = "red" if edge.is_error else "dim"
    target = rails.column_of(edge.target)
    is_new = target is None
    label = _label(graph, edge)
    if target is None:
        if is_last:
            rails.columns[column] = edge.target
            return _Line(rails.draw({column: ("│", style)}), rails.draw(), label)
        target = rails.open(edge.target, right_of=column)
    to_right = target > column
    corner = ("╮" if to_right else "╭") if is_new else ("┤" if to_right else "├")
    leaves = ("╰" if to_right else "╯") if is_last else ("├" if to_right else "┤")
    bar = range(min(column, target), max(column, target) + 1)
    drawn = rails.draw({column: (leaves, style), target: (corner, style)}, bar, style)
    if is_last:
        rails.columns[column] = None
    return _Line(drawn, rails.draw(), label)


def _label(graph: RecipeGraph, edge: Edge) -> Text:
    text = Text("  ")
    if edge.text:
        text.append(f"{edge.text} ", "red" if edge.is_error else "green")
    text.append(f"→ {edge.target}", "bold")
    return text.append(f" {graph.nodes[edge.target].name}", "dim")
