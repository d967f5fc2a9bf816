"""Random recipes for property tests: documents that obey all rules, in every form that links may take."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.text(max_size=6)
JSON = st.recursive(
    SCALARS | NAMES, lambda below: st.lists(below, max_size=3) | st.dictionaries(NAMES, below, max_size=3), max_leaves=8
)
NUMBERS = st.integers(-30, 99).filter(bool)


def add_link(node: dict[str, Any], target: Any, key: str = "output", name: str = "added") -> None:
    """Add a link to a node, whatever form its links have."""
    links = node.get(key)
    if isinstance(links, dict):
        links[name] = [*_as_list(links.get(name)), target]
    else:
        node[key] = [*_as_list(links), target]


def _as_list(links: Any) -> list[Any]:
    if links is None:
        return []
    return links if isinstance(links, list) else [links]


@st.composite
def recipe_documents(draw: st.DrawFn, min_nodes: int = 1, max_nodes: int = 8) -> dict[str, Any]:
    """Draw a recipe's document: nodes lead to later ones only, and each is led to from an earlier one or an entry."""
    numbers = draw(st.lists(NUMBERS, min_size=min_nodes, max_size=max_nodes, unique=True))
    nodes = [draw(st.fixed_dictionaries({}, optional={"queue": NAMES, "parameters": JSON, "x": JSON})) for _ in numbers]
    start, error = [[numbers[0], draw(JSON)]], []
    for index, number in enumerate(numbers[1:], 1):
        for origin in draw(st.lists(st.sampled_from(["start", "error", *range(index)]), min_size=1, max_size=3)):
            if origin == "start":
                start.append([number, draw(JSON)])
            elif origin == "error":
                error.append(number)
            else:
                key = draw(st.sampled_from(["output", "output", "error"]))
                nodes[origin].setdefault(key, draw(st.sampled_from([[], {}])))
                add_link(nodes[origin], number, key, draw(st.sampled_from(["every", "first"])))
    for node in nodes:
        _vary_links(draw, node)
    document: dict[str, Any] = {
        draw(st.sampled_from(["{}", "{:03}"])).format(number): node for number, node in zip(numbers, nodes, strict=True)
    }
    document["start"] = start
    if error or draw(st.booleans()):
        document["error"] = error
    names = draw(st.permutations(list(document)))
    return {name: document[name] for name in names}


def _vary_links(draw: st.DrawFn, node: dict[str, Any]) -> None:
    """Write single links without a list sometimes, and add links to nowhere."""
    for key in ("output", "error"):
        if isinstance(node.get(key), dict):
            node[key] = {name: _shorter(draw, links) for name, links in node[key].items()}
            if draw(st.booleans()):
                node[key]["nowhere"] = None
        elif key in node:
            node[key] = _shorter(draw, node[key])


def _shorter(draw: st.DrawFn, links: list[int]) -> Any:
    return links[0] if len(links) == 1 and draw(st.booleans()) else links
