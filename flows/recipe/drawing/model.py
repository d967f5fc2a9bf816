"""What a drawing of a recipe shows: its nodes with their steps' names, and the links between them."""

from __future__ import annotations

import heapq
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from blocks.errors import UnknownStep
from flows.display_text import escaped
from flows.recipe.check.parameters import annotations_of, names_of
from flows.recipe.language.recipe import ERROR, START, Recipe, links
from tasks.step import Chooses, Step
from tasks.step.registry import load_step, queue_of, step_name

Origin = int | str
"""A node's number, or "start" or "error": where messages come from that no node sends."""


@dataclass(frozen=True)
class Edge:
    """A link: what is sent on `label` goes to `target`, `count` times if it's named as often."""

    origin: Origin
    target: int
    label: str
    is_error: bool = False
    count: int = 1

    @property
    def text(self) -> str:
        """The label, with how many messages there are for each that is sent."""
        return f"{self.label} × {self.count}".strip() if self.count > 1 else self.label


@dataclass(frozen=True)
class GraphNode:
    """A node: the step's name (the service's, where there's no such step), its queue and what it's told.

    Parameters
    ----------
    parameters
        Those that the step reads, or all where the step isn't known.
    delay
        Seconds until messages are delivered to it, as the recipe says it; None: none.
    """

    number: int
    name: str
    queue: str
    parameters: Mapping[str, str]
    delay: str | None


class RecipeGraph:
    """A recipe's nodes, and its edges by origin, in the order in which they're drawn: feeders first."""

    def __init__(self, recipe: Recipe) -> None:
        steps = {number: _step(number, node) for number, node in recipe.nodes.items()}
        edges = list(_edges(recipe, steps))
        self.edges = {origin: [edge for edge in edges if edge.origin == origin] for origin in _origins(recipe)}
        self.nodes = {number: _graph_node(number, node, steps[number]) for number, node in recipe.nodes.items()}
        self.order = _feeders_first(self.edges)


def _step(number: int, node: Mapping[str, Any]) -> Step | None:
    try:
        return load_step(queue_of(number, node))
    except UnknownStep:
        return None


def _origins(recipe: Recipe) -> list[Origin]:
    return [START, *([ERROR] if recipe.error else []), *recipe.nodes]


def _edges(recipe: Recipe, steps: Mapping[int, Step | None]) -> Iterator[Edge]:
    for (number, label), count in Counter((number, _payload(payload)) for number, payload in recipe.start).items():
        yield Edge(START, number, label, count=count)
    for number, count in Counter(recipe.error).items():
        yield Edge(ERROR, number, "", is_error=True, count=count)
    for number, node in recipe.nodes.items():
        step = steps[number]
        default = step.default_output if step else None
        for link, count in Counter(links(node)).items():
            is_error = link.path[0] == ERROR
            label = _text(link.path[1]) if len(link.path) > 1 else ERROR if is_error else default or ""
            yield Edge(number, link.target, label, is_error, count)


def _payload(payload: Any) -> str:
    return _text(payload) if payload not in (None, [], {}, "") else ""


def _graph_node(number: int, node: Mapping[str, Any], step: Step | None) -> GraphNode:
    given = node.get("parameters")
    parameters = dict(given) if isinstance(given, Mapping) else {}
    if step is not None and step.parameters.model_config.get("extra") != "allow":
        known = names_of(step.parameters) | _chosen_names(step, parameters)
        parameters = {name: value for name, value in parameters.items() if name in known}
    queue = _text(node.get("queue") or (step.queue if step else ""))
    delay = node.get("transport-delay")
    texts = {_text(name): _text(value) for name, value in parameters.items()}
    return GraphNode(number, escaped(step_name(number, node)), queue, texts, _text(delay) if delay else None)


def _chosen_names(step: Step, parameters: Mapping[str, Any]) -> set[str]:
    models = [
        chooses.models.get(str(parameters.get(name))) for name, chooses in annotations_of(step.parameters, Chooses)
    ]
    return {name for model in models if model for name in names_of(model)}


def _text(value: Any) -> str:
    """Write a value in a line."""
    return escaped(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))


def _feeders_first(edges: Mapping[Origin, list[Edge]]) -> list[Origin]:
    """Sort topologically, by number where there's a choice; the recipe's `error` comes right before its nodes."""

    def rank(origin: Origin) -> tuple[float, int]:
        if origin == ERROR:
            return min(edge.target for edge in edges[ERROR]), -1
        return (-math.inf, 0) if isinstance(origin, str) else (origin, 0)

    waiting: Counter[Origin] = Counter(edge.target for those in edges.values() for edge in those)
    ready = [(rank(origin), origin) for origin in edges if not waiting[origin]]
    heapq.heapify(ready)
    order: list[Origin] = []
    while ready:
        _, origin = heapq.heappop(ready)
        order.append(origin)
        for edge in edges.get(origin, []):
            waiting[edge.target] -= 1
            if not waiting[edge.target]:
                heapq.heappush(ready, (rank(edge.target), edge.target))
    return order
