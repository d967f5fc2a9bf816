"""An outcome as a page for people: what runs, what doesn't, and why; at its end the outcome itself, for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from flows.display_text import markdown_cell, markdown_text, printable
from flows.mimas.record.decision_record import DecisionRecord, RuleRecord
from flows.mimas.record.outcome import MimasOutcome, WantedJob
from flows.mimas.scenario import Scenario
from flows.prefect_limits import page_text
from tasks.step.ports import LaunchedRecipe

_JSON_FENCE: Final = "```json\n"


def to_markdown(outcome: MimasOutcome, record: DecisionRecord) -> str:
    """Write the page: what runs, what doesn't and why; at its end the outcome as JSON.

    It quotes ISPyB, where anything may stand. What people read is bounded; the JSON is whole.
    """
    for_programs = f"### For programs\n\n{_JSON_FENCE}{outcome.model_dump_json(indent=1)}\n```"
    return f"{page_text(_for_people(outcome, record))}\n\n{printable(for_programs)}"


def from_markdown(page: str) -> MimasOutcome:
    """Read the outcome back from a page."""
    text = page.rpartition(_JSON_FENCE)[2].removesuffix("\n```")
    return MimasOutcome.model_validate_json(text)


def headline(scenario: Scenario) -> str:
    """Say in a line which event of which data collection it is."""
    detector = scenario.detector_class.name.capitalize() if scenario.detector_class else "unknown detector"
    what = f"{scenario.dc_class.value} on {scenario.beamline}, {detector}"
    return f"{scenario.event.value.capitalize()} of data collection {scenario.dcid}: {what}"


def _for_people(outcome: MimasOutcome, record: DecisionRecord) -> str:
    others = [rule for rule in record.rules if not rule.matched and not rule.fault]
    return "\n".join(
        [
            f"## {headline(record.scenario)}",
            "",
            *_list("Not decided", map(markdown_text, outcome.faults)),
            *_section("Recipes", ("recipe", "run"), _recipe_rows(outcome), "No recipe is to run."),
            *_section(
                "Jobs", ("job", "starts", "parameters", "state"), map(_job_row, outcome.jobs), "No job asked for."
            ),
            *_list("Left out", map(markdown_text, outcome.warnings)),
            *_list("Rules of the site", map(markdown_text, record.site_rules)),
            "### Rules that matched",
            "",
            *(list(_matched_lines(record.rules)) or ["None."]),
            "",
            "### Rules that did not match",
            "",
            *(f"- **{rule.rule}**: {'; '.join(rule.because)}" for rule in others),
        ]
    )


def _list(title: str, items: Iterable[str]) -> list[str]:
    lines = [f"- {item}" for item in items]
    return [f"### {title}", "", *lines, ""] if lines else []


def _section(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], nothing: str) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if not lines:
        return [f"### {title}", "", nothing, ""]
    return [f"### {title}", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", *lines, ""]


def _recipe_rows(outcome: MimasOutcome) -> Iterable[Sequence[str]]:
    for run in outcome.launched:
        yield run.recipe, f"[{label(run)}](/runs/flow-run/{run.flow_run_id}){_stood(run)}"
    for recipe in outcome.not_installed:
        if not recipe.startswith("ispyb-"):  # those are seen among the jobs
            yield recipe, "not installed here"
    for failure in outcome.failed:
        yield failure.recipe, f"**could not be launched**: {markdown_text(failure.reason)}"


def label(run: LaunchedRecipe) -> str:
    """Say how a run came to be."""
    if run.taken_up:
        return "launched before by the same event, taken up again"
    return "launched before by the same event" if run.earlier else "launched"


def _stood(run: LaunchedRecipe) -> str:
    return f": it was {markdown_text(run.state)}" if run.state else ""


def _job_row(job: WantedJob) -> Sequence[str]:
    parameters = "<br>".join(markdown_text(f"{key}={value}") for key, value in job.parameters)
    return (
        f"{job.display_name or 'unnamed'} (`{job.recipe}`)",
        "at once" if job.autostart else "when there is room",
        parameters,
        f"[{job.state}](/runs/flow-run/{job.flow_run_id})" if job.flow_run_id else markdown_cell(job.state),
    )


def _matched_lines(rules: Iterable[RuleRecord]) -> Iterable[str]:
    for rule in rules:
        if rule.matched:
            yield f"- **{rule.rule}** ({'; '.join(rule.because)}): {', '.join(rule.asks_for)}"
