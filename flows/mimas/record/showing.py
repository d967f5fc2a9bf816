"""A run of Mimas as text, from what is kept in the home folder: no server is needed for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from flows.display_text import one_line
from flows.mimas.record.decision_record import DecisionRecord, mimas_run_folder
from flows.mimas.record.outcome import MimasOutcome
from flows.mimas.record.outcome_page import headline, label
from tasks.step.ports import LaunchedRecipe


def mimas_run_text(flow_run: str, home: Path | None = None) -> str | None:
    """Say what a run of Mimas has decided and what came of it; None if it has decided nothing, or is none of Mimas.

    Parameters
    ----------
    flow_run
        The flow run's id.
    """
    record = mimas_run_folder(flow_run, home).read()
    return None if record is None else "\n".join(map(one_line, _lines(record, flow_run)))


def _lines(record: DecisionRecord, flow_run: str) -> Iterator[str]:
    yield headline(record.scenario)
    yield f"run of Mimas {flow_run}{f', recipe ID {record.recipe_id}' if record.recipe_id else ''}"
    if record.given:
        yield "given: " + ", ".join(f"{name}={value!r}" for name, value in record.given.items())
    yield from _section("not decided", record.faults)
    if record.outcome is None:
        yield from _section("decided, but not (yet) launched to the end", _wanted(record))
    else:
        yield from _section("recipes", _recipes(record.outcome))
        yield from _section(
            "jobs", (f"{job.display_name or 'unnamed'} ({job.recipe}): {job.state}" for job in record.outcome.jobs)
        )
    yield from _section("warnings", record.warnings)
    if record.site_rules:
        yield from _section("rules of the site", record.site_rules)
    matched = (rule for rule in record.rules if rule.matched)
    yield from _section("rules that matched", (f"{rule.rule}: {', '.join(rule.asks_for)}" for rule in matched))
    others = (rule for rule in record.rules if not rule.matched and not rule.fault)
    yield from _section("rules that did not match", (f"{rule.rule}: {'; '.join(rule.because)}" for rule in others))


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    told = [f"  {line}" for line in lines]
    yield title if told else f"{title}: none"
    yield from told


def _wanted(record: DecisionRecord) -> Iterator[str]:
    yield from (wanted.recipe for wanted in record.recipes)
    for job in record.jobs:
        start = "to start at once" if job.autostart else "to be held"
        yield f"job {job.display_name or 'unnamed'} ({job.recipe}), {start}"


def _recipes(outcome: MimasOutcome) -> Iterator[str]:
    yield from (f"{run.recipe}: {label(run)}, run {run.flow_run_id}{_stood(run)}" for run in outcome.launched)
    yield from (f"{recipe}: not installed here" for recipe in outcome.not_installed if not recipe.startswith("ispyb-"))
    yield from (f"{failure.recipe}: could not be launched: {failure.reason}" for failure in outcome.failed)


def _stood(run: LaunchedRecipe) -> str:
    return f" ({run.state})" if run.state else ""
