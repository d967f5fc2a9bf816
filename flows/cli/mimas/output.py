"""How decisions and their reasons look in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from flows.display_text import one_line
from flows.mimas.decision import Decision, Ruling
from flows.mimas.scenario import ImageRange, Invocation, ISPyBJobInvocation, JobParameter, RecipeInvocation, Scenario
from flows.mimas.what_if.invocation_json import invocation_json

INDENT = "  "


def headline(scenario: Scenario) -> str:
    """Say in a line what a data collection is."""
    detector = scenario.detector_class.name.capitalize() if scenario.detector_class else "unknown detector"
    words = (str(scenario.dcid), scenario.beamline, scenario.dc_class.value, detector, scenario.visit)
    return one_line(" · ".join(word for word in words if word))


def decision_lines(decision: Decision) -> Iterator[str]:
    """Say what runs at an event, a line for each."""
    event, invocations = decision.scenario.event.value, decision.invocations
    if not invocations:
        yield f"{event}: nothing"
        return
    yield f"{event}:"
    for wanted in invocations:
        yield f"{INDENT}{invocation_line(wanted)}"


def invocation_line(wanted: Invocation) -> str:
    """Say in a line what is to run."""
    if isinstance(wanted, RecipeInvocation):
        return one_line(f"recipe {wanted.recipe}")
    details = list(job_details(wanted))
    return one_line(f"job {job_name(wanted)}: {'; '.join(details)}")


def job_name(job: ISPyBJobInvocation) -> str:
    """Return a job's recipe, and what people see of it."""
    return f"{job.recipe} ({job.display_name})" if job.display_name else job.recipe


def job_details(job: ISPyBJobInvocation) -> Iterator[str]:
    """Yield what else there is to say of a job."""
    yield "starts at once" if job.autostart else "is held"
    yield from map(pair, job.parameters)
    if job.sweeps:
        yield f"sweeps {' '.join(map(sweep_text, job.sweeps))}"
    yield from (f"started with {pair(variable)}" for variable in job.trigger_variables)
    if job.comment:
        yield f"comment {job.comment!r}"
    if job.source != "automatic":
        yield f"source {job.source}"


def pair(parameter: JobParameter) -> str:
    """Return a parameter as people write it."""
    return f"{parameter.key}={parameter.value}"


def sweep_text(sweep: ImageRange) -> str:
    """Return a sweep as command lines have it."""
    return f"{sweep.dcid}:{sweep.start}:{sweep.end}"


def explanation_lines(decision: Decision) -> Iterator[str]:
    """Say of each rule whether it matched, and what it asks for; else which conditions said no, and what they saw."""
    for ruling in decision.rulings:
        if ruling.matched and not ruling.fault:
            wanted = ", ".join(map(_short, ruling.invocations)) or "nothing"
            yield one_line(f"{ruling.rule}: matched, asks for {wanted}")
        else:
            yield one_line(ruling.explain())


def explanation_json(rulings: Iterable[Ruling]) -> list[dict[str, Any]]:
    """Return the same for programs."""
    return [
        {
            "rule": ruling.rule,
            "matched": ruling.matched,
            "because": list(ruling.because),
            "fault": ruling.fault,
            "invocations": [invocation_json(wanted) for wanted in ruling.invocations],
        }
        for ruling in rulings
    ]


def _short(wanted: Invocation) -> str:
    return wanted.recipe if isinstance(wanted, RecipeInvocation) else f"job {wanted.recipe}"
