"""How the differences between rules look in a terminal, and to programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from flows.cli.mimas.output import headline, job_details, job_name, pair
from flows.display_text import one_line
from flows.mimas.scenario import Invocation, ISPyBJobInvocation
from flows.mimas.what_if.invocation_json import invocation_json
from flows.mimas.what_if.replay import Difference
from flows.mimas.what_if.rule_comparison import Change, RecipeCount

INDENT = "  "


def difference_lines(difference: Difference) -> Iterator[str]:
    """Say what would start (+) and what wouldn't any longer (-); of a job that changes, both with what differs."""
    scenario = difference.scenario
    started = difference.started.replace("T", " ")
    yield one_line(f"{headline(scenario)} · {started} · {scenario.event.value}")
    for change in difference.changes:
        yield from (INDENT + line for line in _change_lines(change))


def difference_json(difference: Difference) -> str:
    """Return the same for programs."""
    scenario = difference.scenario
    return json.dumps(
        {
            "dcid": scenario.dcid,
            "event": scenario.event.value,
            "beamline": scenario.beamline,
            "visit": scenario.visit,
            "dc_class": scenario.dc_class.name,
            "started": difference.started,
            "changes": [_change_json(change) for change in difference.changes],
        }
    )


def sum_json(looked_at: int, undecided: int, by_recipe: dict[str, RecipeCount]) -> str:
    """Return how many data collections were looked at, and the counts of each recipe."""
    recipes = {recipe: asdict(count) for recipe, count in by_recipe.items()}
    return json.dumps({"collections": looked_at, "undecided": undecided, "recipes": recipes})


def count_rows(by_recipe: dict[str, RecipeCount]) -> Iterator[tuple[str, str, str, str]]:
    """Yield a row for each recipe: its name, how often it would start, no longer start, start otherwise."""
    for recipe, count in by_recipe.items():
        yield recipe, str(count.started or ""), str(count.dropped or ""), str(count.changed or "")


def _change_lines(change: Change) -> Iterator[str]:
    before, after = change.before, change.after
    if isinstance(before, ISPyBJobInvocation) and isinstance(after, ISPyBJobInvocation):
        gone, come = _differing(before, after)
        yield _line("-", before, gone)
        yield _line("+", after, come)
    elif before is not None:
        yield _line("-", before, _details(before))
    elif after is not None:
        yield _line("+", after, _details(after))


def _line(sign: str, wanted: Invocation, details: Sequence[str]) -> str:
    name = _job_name(wanted, details) if isinstance(wanted, ISPyBJobInvocation) else wanted.recipe
    return one_line(f"{sign} {name}{': ' if details else ''}{'; '.join(details)}")


def _job_name(job: ISPyBJobInvocation, details: Sequence[str]) -> str:
    """Return a job's name, with a known space group, by which it differs from the one that is to find it."""
    group = next((pair(parameter) for parameter in job.parameters if parameter.key == "spacegroup"), None)
    return job_name(job) if group is None or group in details else f"{job_name(job)} with {group}"


def _details(wanted: Invocation) -> list[str]:
    return list(job_details(wanted)) if isinstance(wanted, ISPyBJobInvocation) else []


def _differing(before: ISPyBJobInvocation, after: ISPyBJobInvocation) -> tuple[list[str], list[str]]:
    """Return what there is to say of a job before only, and after only; all, if nothing but the order differs."""
    old, new = _details(before), _details(after)
    gone, come = [word for word in old if word not in new], [word for word in new if word not in old]
    return (gone, come) if gone or come or before.display_name != after.display_name else (old, new)


def _change_json(change: Change) -> dict[str, Any]:
    before, after = (wanted and invocation_json(wanted) for wanted in (change.before, change.after))
    return {"recipe": change.recipe, "before": before, "after": after}
