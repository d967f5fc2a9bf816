"""By what runs are found and told apart: tags, which people look for, and keys, by which a run is made once.

Without Prefect, so that steps that start runs are quick to import.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from blocks.identifiers import Dcid, JobId
from flows.prefect_limits import tag

JOB_RECIPE_PREFIX: Final = "ispyb-"
"""Jobs of the recipe X in ISPyB are carried out by the recipe file ispyb-X."""
LAUNCH_KEY: Final = "launch_key"
"""In a message's environment: tells the launch that it asks for from others; without it the message itself does."""
PASSED_ON: Final = ("filename", "message_index", "number_of_frames", "start_frame_index")
"""What one program that tells of an event says beside it, and another leaves out: it's the same event."""
_PARENT: Final = "parent:"


def collection_tags(dcid: object, beamline: object, visit: object) -> list[str]:
    """Return the tags by which all runs for a data collection, a beamline or a visit are found in the UI."""
    named = [f"dcid:{dcid}" if dcid else None, beamline, visit]
    return list(dict.fromkeys(tag(str(name)) for name in named if name))


def guid_tag(guid: object) -> str:
    """Return the tag by which the runs of a recipe ID that a message brought are found in the UI."""
    return tag(f"guid:{guid}")


def parent_tag(recipe_run: str) -> str:
    """Return the tag of a run that a step of a recipe run has started."""
    return f"{_PARENT}{recipe_run}"


def parent_of(tags: Iterable[str]) -> str | None:
    """Return the recipe run whose step started a run, as its tags say; None if none did."""
    return next((name.removeprefix(_PARENT) for name in tags if name.startswith(_PARENT)), None)


def extras_that_count(parameters: Mapping[str, Any]) -> str:
    """Return, as one text, those of an event's parameters by which it's told from others; empty: none.

    Numbers are the same as their text, which some programs that tell of events make of them.
    """
    counting = {name: value for name, value in parameters.items() if name not in PASSED_ON}
    return json.dumps(as_text(counting), sort_keys=True) if counting else ""


def as_text(value: Any) -> Any:
    """Return a JSON value with all that's neither an object nor a list as text, as recipes' placeholders give it."""
    if isinstance(value, Mapping):
        return {str(name): as_text(below) for name, below in value.items()}
    return [as_text(item) for item in value] if isinstance(value, list | tuple) else str(value)


def job_key(dcid: Dcid | None, job_id: JobId) -> str:
    """Return the key of the run that carries a job out, so that there is one for the job."""
    return f"{dcid}-job-{job_id}"  # the collection too: numbers begin anew in a new ISPyB, such as a demo's
