"""A job that is held: the message that starts it, and what is known of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from blocks.identifiers import Dcid, JobId

JOB: Final = "ispyb_process"
"""The parameter of a message that names the job."""
CLUSTER: Final = "statistic-cluster"
"""The trigger variable that says on which cluster a job is to run."""
USUAL_CLUSTER: Final = "slurm"


class HeldJob(BaseModel):
    """A job, or other work that Zocalo's dispatcher would start, that is held.

    Parameters
    ----------
    message
        What starts it, as it came: a body for Zocalo's dispatcher, with the job's trigger variables.
    since
        When it came.
    key
        Tells one message from another where it names no job; the same if it comes again.
    job_id
        The job in ISPyB; None: the message names none.
    recipe
        What runs it, as far as that is known.
    dcid, beamline, visit
        What it's for, as far as that is known.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    message: Mapping[str, Any]
    since: AwareDatetime
    key: str = ""
    job_id: Annotated[JobId, Field(gt=0)] | None = None
    recipe: str | None = None
    dcid: Annotated[Dcid, Field(gt=0)] | None = None
    beamline: str | None = None
    visit: str | None = None

    @property
    def name(self) -> str:
        """What it's called, and its file: the job's, else a digest that is the same when the message comes again."""
        if self.job_id is not None:
            return f"job-{self.job_id}"
        text = json.dumps([self.key, self.message], sort_keys=True, default=str)
        return f"message-{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:16]}"

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The message's parameters."""
        found = self.message.get("parameters")
        return found if isinstance(found, Mapping) else {}

    @property
    def variables(self) -> dict[str, Any]:
        """What its recipe is started with beside the job: the trigger variables."""
        return {name: value for name, value in self.parameters.items() if name != JOB}

    @property
    def cluster(self) -> str:
        """The cluster whose room it waits for."""
        return str(self.parameters.get(CLUSTER) or USUAL_CLUSTER)

    @property
    def is_for(self) -> str:
        """What it's for, in a line."""
        named = (("dcid", self.dcid), ("job", self.job_id), ("recipe", self.recipe), ("on", self.beamline))
        return ", ".join(f"{word} {value}" for word, value in named if value) or self.name
