"""What Mimas asks for, as Zocalo's Mimas sends it, and what tells one launch from another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from flows.mimas.scenario import ISPyBJobInvocation, JobParameter, Scenario


def run_key(scenario: Scenario, recipe: str, given: Mapping[str, Any]) -> str:
    """Return what tells one launch from another: the same key is the same run."""
    key = f"{scenario.dcid}-{scenario.event.value}-{recipe}"
    if not given:
        return key
    # By a digest, since what came with an event may take 64 KiB
    text = json.dumps(given, sort_keys=True, default=str)
    return f"{key}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


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
