"""What came of an event: a value that programs read back, and a page for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from blocks.identifiers import Dcid, JobId
from flows.display_text import markdown_cell, markdown_text, one_line, printable, shortened
from flows.mimas.decision import Decision
from flows.mimas.scenario import Invocation, ISPyBJobInvocation, RecipeInvocation
from flows.prefect_limits import page_text
from tasks.step.ports import FailedLaunch, LaunchedRecipe

ARTIFACT_KEY = "mimas-decision"
FAULTS_CHARACTERS: Final = 2000  # of all launches that failed: a state shows them, and so does every list of runs
_JSON_FENCE = "```json\n"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class CreatedJob(_Record):
    """A job in ISPyB, and the run of its recipe; None while it's held. `taken_up`: one that had failed goes on."""

    job_id: JobId
    flow_run_id: UUID | None = None
    taken_up: bool = False


class WantedJob(_Record):
    """An ISPyB job that the rules ask for, and what became of it."""

    recipe: str
    display_name: str
    autostart: bool
    parameters: tuple[tuple[str, str], ...]
    sweeps: tuple[tuple[Dcid, int, int], ...]
    state: str
    job_id: JobId | None = None
    flow_run_id: UUID | None = None


class MimasOutcome(_Record):
    """What Mimas made of an event."""

    dcid: Dcid
    event: Literal["start", "end"]
    beamline: str
    dc_class: str
    launched: tuple[LaunchedRecipe, ...]
    not_installed: tuple[str, ...]
    """Recipes that the rules ask for and that have no deployment here; jobs' recipes as `ispyb-…`."""
    failed: tuple[FailedLaunch, ...]
    jobs: tuple[WantedJob, ...]
    matched: tuple[str, ...]
    """Names of the rules that applied."""
    warnings: tuple[str, ...]
    """Facts of ISPyB that were left out since they make no sense."""


def describe_job(job: ISPyBJobInvocation, created: CreatedJob | FailedLaunch | None) -> WantedJob:
    """Say what became of a job that the rules ask for; None: its recipe isn't installed here."""
    job_id, flow_run_id = (created.job_id, created.flow_run_id) if isinstance(created, CreatedJob) else (None, None)
    return WantedJob(
        recipe=job.recipe,
        display_name=job.display_name,
        autostart=job.autostart,
        parameters=tuple((parameter.key, parameter.value) for parameter in job.parameters),
        sweeps=tuple((sweep.dcid, sweep.start, sweep.end) for sweep in job.sweeps),
        state=_state(created),
        job_id=job_id,
        flow_run_id=flow_run_id,
    )


def _state(created: CreatedJob | FailedLaunch | None) -> str:
    match created:
        case None:
            return "not installed here"
        case FailedLaunch():
            return f"could not be launched: {created.reason}"
        case CreatedJob(flow_run_id=None):
            return f"job {created.job_id} is held: `plaza job start {created.job_id}` starts it"
        case CreatedJob(taken_up=True):
            return f"job {created.job_id} is taken up again"
    return f"job {created.job_id} is launched"


def describe_faults(failed: Iterable[FailedLaunch]) -> str:
    """Say in a line, which isn't too long for a state, what could not be launched."""
    faults = "; ".join(f"{fault.recipe} ({fault.reason})" for fault in failed)
    return shortened(one_line(faults), FAULTS_CHARACTERS)


def to_markdown(outcome: MimasOutcome, decision: Decision) -> str:
    """Write the page: what runs, what doesn't and why; at its end the outcome as JSON.

    It quotes ISPyB, where anything may stand. What people read is bounded; the JSON is whole.
    """
    for_programs = f"### For programs\n\n{_JSON_FENCE}{outcome.model_dump_json(indent=1)}\n```"
    return f"{page_text(_for_people(outcome, decision))}\n\n{printable(for_programs)}"


def _for_people(outcome: MimasOutcome, decision: Decision) -> str:
    return "\n".join(
        [
            f"## {_headline(decision)}",
            "",
            *_section("Recipes", ("recipe", "run"), _recipe_rows(outcome), "No recipe is to run."),
            *_section(
                "Jobs", ("job", "starts", "parameters", "state"), map(_job_row, outcome.jobs), "No job asked for."
            ),
            *(
                ["### Left out", "", *(f"- {markdown_text(warning)}" for warning in outcome.warnings), ""]
                if outcome.warnings
                else []
            ),
            "### Rules that matched",
            "",
            *(_matched_lines(decision) or ["None."]),
            "",
            "### Rules that did not match",
            "",
            *(f"- **{r.rule}**: {'; '.join(r.verdict.because())}" for r in decision.rulings if not r.matched),
        ]
    )


def from_markdown(page: str) -> MimasOutcome:
    """Read the outcome back from a page."""
    text = page.rpartition(_JSON_FENCE)[2].removesuffix("\n```")
    return MimasOutcome.model_validate_json(text)


def _headline(decision: Decision) -> str:
    scenario = decision.scenario
    detector = scenario.detector_class.name.capitalize() if scenario.detector_class else "unknown detector"
    what = f"{scenario.dc_class.value} on {scenario.beamline}, {detector}"
    return f"{scenario.event.value.capitalize()} of data collection {scenario.dcid}: {what}"


def _section(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], nothing: str) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if not lines:
        return [f"### {title}", "", nothing, ""]
    return [f"### {title}", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", *lines, ""]


def _recipe_rows(outcome: MimasOutcome) -> Iterable[Sequence[str]]:
    for run in outcome.launched:
        yield run.recipe, f"[{_label(run)}](/runs/flow-run/{run.flow_run_id}){_stood(run)}"
    for recipe in outcome.not_installed:
        if not recipe.startswith("ispyb-"):  # those are seen among the jobs
            yield recipe, "not installed here"
    for failure in outcome.failed:
        yield failure.recipe, f"**could not be launched**: {markdown_text(failure.reason)}"


def _label(run: LaunchedRecipe) -> str:
    if run.taken_up:
        return "launched before by the same event, taken up again"
    return "launched before by the same event" if run.earlier else "launched"


def _stood(run: LaunchedRecipe) -> str:
    return f": it was {markdown_text(run.state)}" if run.state else ""


def _job_row(job: WantedJob) -> Sequence[str]:
    parameters = "<br>".join(markdown_text(f"{key}={value}") for key, value in job.parameters)
    return (
        f"{job.display_name} (`{job.recipe}`)",
        "at once" if job.autostart else "when there is room",
        parameters,
        f"[{job.state}](/runs/flow-run/{job.flow_run_id})" if job.flow_run_id else markdown_cell(job.state),
    )


def _matched_lines(decision: Decision) -> list[str]:
    return [
        f"- **{ruling.rule}** ({'; '.join(ruling.verdict.because())}): {', '.join(map(_name, ruling.invocations))}"
        for ruling in decision.rulings
        if ruling.matched
    ]


def _name(wanted: Invocation) -> str:
    return wanted.recipe if isinstance(wanted, RecipeInvocation) else f"job {wanted.recipe}"
