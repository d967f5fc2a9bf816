"""Which processing a site lets go to the cloud, and when: groups of its settings."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_as_list), Field(min_length=1)]


class MostJobsWaiting(BaseModel):
    """How many jobs may wait on each cluster, as Zocalo's configuration says it.

    Parameters
    ----------
    slurm
        With more jobs waiting on the facility's own cluster, the cloud is used.
    iris
        With so many waiting in the cloud, it isn't.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    slurm: int = Field(60, ge=0)
    iris: int = Field(500, ge=0)


class CloudGroupSetting(BaseModel):
    """Data collections whose processing may go to the cloud, by Zocalo's names.

    Parameters
    ----------
    visit_pattern
        Beginnings of visits' names; none: no visit is one of theirs, as with Zocalo.
    beamlines
        None: no beamline is.
    recipes
        A pipeline goes there if its recipe's name contains one of these.
    max_jobs_waiting
        When the cloud is used.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    visit_pattern: Names
    beamlines: Names
    recipes: Names = ("autoprocessing",)
    max_jobs_waiting: MostJobsWaiting = MostJobsWaiting()
