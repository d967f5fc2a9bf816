"""What Mimas asks for, as Zocalo's Mimas sends it, and what tells one launch from another."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from flows.mimas.scenario import ISPyBJobInvocation, JobParameter, Scenario
from flows.run_marks import extras_that_count


def run_key(scenario: Scenario, recipe: str, given: Mapping[str, Any]) -> str:
    """Return what tells one launch from another: the same key is the same run."""
    key = f"{scenario.dcid}-{scenario.event.value}-{recipe}"
    extras = extras_that_count(given)
    # By a digest, since what came with an event may take 64 KiB
    return f"{key}-{hashlib.sha256(extras.encode()).hexdigest()[:12]}" if extras else key


def as_message(job: ISPyBJobInvocation) -> dict[str, Any]:
    """Return a job as Zocalo's Mimas sends it to ISPyB."""
    return {
        "DCID": job.dcid,
        "autostart": job.autostart,
        "recipe": job.recipe,
        "source": job.source,
        "comment": job.comment,
        "displayname": job.display_name,
        "parameters": _pairs(job.parameters),
        "sweeps": [{"DCID": sweep.dcid, "start": sweep.start, "end": sweep.end} for sweep in job.sweeps],
        "triggervariables": _pairs(job.trigger_variables),
    }


def _pairs(parameters: Iterable[JobParameter]) -> list[dict[str, str]]:
    return [{"key": parameter.key, "value": parameter.value} for parameter in parameters]
