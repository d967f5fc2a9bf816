"""What Mimas asks for as JSON, in the form that programs read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flows.mimas.scenario import Invocation, JobParameter, RecipeInvocation


def invocation_json(wanted: Invocation) -> dict[str, Any]:
    """Return a recipe or a job to be created, its keys in their usual order; pairs and sweeps are lists."""
    if isinstance(wanted, RecipeInvocation):
        return {"type": "recipe", "dcid": wanted.dcid, "recipe": wanted.recipe}
    return {
        "type": "job",
        "dcid": wanted.dcid,
        "recipe": wanted.recipe,
        "displayname": wanted.display_name,
        "source": wanted.source,
        "comment": wanted.comment,
        "autostart": wanted.autostart,
        "parameters": _pairs(wanted.parameters),
        "sweeps": [[sweep.dcid, sweep.start, sweep.end] for sweep in wanted.sweeps],
        "triggervariables": _pairs(wanted.trigger_variables),
    }


def _pairs(parameters: Iterable[JobParameter]) -> list[list[str]]:
    return [[parameter.key, parameter.value] for parameter in parameters]
