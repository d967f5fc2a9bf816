"""What a run of a recipe of trial steps must come to, found without tasks, channels or journals.

Written from the description of Zocalo's routing alone (and of what Plaza does along error links), node by node in an
order in which all that feeds a node comes before it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import Any

from flows.recipe.run_record.progress import NodeProgress
from tests.support.trial_world import (
    DEFAULTS,
    RUN,
    Doings,
    Happening,
    World,
    answers,
    environment_of_answers,
    happening,
    summary,
    verdict,
)

Parcel = tuple[Any, Mapping[str, Any]]

FAULTS = {"bad": "MessageRefused: it's bad", "hopeless": "PassingFault: not now"}


@dataclass
class ExpectedRun:
    """What happened in a run.

    Parameters
    ----------
    sent
        Node and output to how many were sent there, where that leads anywhere.
    """

    handled: Counter[Happening] = field(default_factory=Counter)
    refused: Counter[Happening] = field(default_factory=Counter)
    received: Counter[int] = field(default_factory=Counter)
    sent: defaultdict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    states: dict[int, str] = field(default_factory=dict)


def interpret(document: Mapping[str, Any], most: int) -> ExpectedRun | None:
    """Run a recipe; None if that takes more than so many messages."""
    nodes = {int(key): node for key, node in document.items() if key not in ("start", "error")}
    entries = list(document.get("error") or ())
    handlers = _reach(nodes, entries)
    hearers = {
        number: [*_all_links(node.get("error")), *(() if number in handlers else entries)]
        for number, node in nodes.items()
    }
    outcome, inboxes = ExpectedRun(), defaultdict(list)
    for number, payload in document["start"]:
        inboxes[number].append((payload, {"ID": RUN}))
    feeders: dict[int, set[int]] = {number: set() for number in nodes}
    for number, node in nodes.items():
        for target in (*_all_links(node.get("output")), *hearers[number]):
            feeders[target].add(number)
    for number in TopologicalSorter(feeders).static_order():
        outcome.received[number] = len(inboxes[number])
        if outcome.received.total() > most:
            return None
        has_refused = False
        for output, payload, environment in _work(number, nodes[number], inboxes[number], outcome):
            if output == REFUSAL:
                has_refused = True
                targets, output = hearers[number], "error"
            else:
                targets = _targets(nodes[number], output)
                if targets:
                    outcome.sent[number][output or ""] += 1
            for target in targets:
                inboxes[target].append((payload, environment))
        outcome.states[number] = "failed" if has_refused else "done" if inboxes[number] else "not needed"
    return outcome


REFUSAL = object()


def _work(
    number: int, node: Mapping[str, Any], inbox: list[Parcel], outcome: ExpectedRun
) -> Iterator[tuple[Any, Any, Any]]:
    """Yield what a node sends: output, payload, environment each."""
    doings = Doings.model_validate(node["parameters"])
    kind = node["queue"].partition(".")[0]
    gathered = []
    for payload, environment in inbox:
        judged = verdict(doings, payload)
        event = happening(number, payload, environment)
        if kind == "produce" and judged == "hopeless":  # the fault comes in the midst of the answers
            told = answers(doings, payload)
            yield from _answers(doings, payload, environment, len(told) // 2)
        if judged in FAULTS:
            outcome.refused[event] += 1
            yield REFUSAL, {"payload": payload, "error": FAULTS[judged], "node": number, "step": kind}, environment
            continue
        outcome.handled[event] += 1
        if kind == "gather":
            gathered.append(payload)
        else:
            yield from _answers(doings, payload, environment)
    if gathered and doings.sends:
        yield doings.sends[0], summary(gathered), {"ID": RUN}


def _answers(
    doings: Doings, payload: Any, environment: Mapping[str, Any], most: int | None = None
) -> Iterator[tuple[Any, Any, Any]]:
    own = environment_of_answers(doings, payload, environment)
    for output, answer in answers(doings, payload)[:most]:
        yield output, answer, own


def _targets(node: Mapping[str, Any], output: str | None) -> list[int]:
    """Zocalo's table: where a message goes that is sent on an output, or on none."""
    links, default = node.get("output"), DEFAULTS[node["queue"].partition(".")[2]]
    if isinstance(links, dict):
        return _as_list(links.get(default if output is None else output)) if output or default else []
    return _as_list(links) if output is None or output == default else []


def _as_list(links: Any) -> list[int]:
    if links is None:
        return []
    return [link for link in links if link is not None] if isinstance(links, list) else [links]


def _all_links(links: Any) -> list[int]:
    if isinstance(links, dict):
        return [target for below in links.values() for target in _as_list(below)]
    return _as_list(links)


def _reach(nodes: Mapping[int, Mapping[str, Any]], entries: Iterable[int]) -> set[int]:
    reached: set[int] = set()
    for number in entries:
        node = nodes[number]
        reached |= {number, *_reach(nodes, [*_all_links(node.get("output")), *_all_links(node.get("error"))])}
    return reached


def assert_came_to(records: Mapping[int, NodeProgress] | None, world: World, expected: ExpectedRun) -> None:
    """Check that a run has come to an outcome: what happened in the world, and what the records say of it."""
    assert records is not None
    assert Counter(world.effects.values()) == expected.handled
    assert Counter(world.refusals.values()) == expected.refused
    assert {number: record.state for number, record in records.items()} == expected.states
    assert {number: record.received for number, record in records.items()} == expected.received
    for number, sent in expected.sent.items():
        assert {output: records[number].sent[output] for output in sent} == sent
