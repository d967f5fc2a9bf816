"""What steps ask of the world beyond themselves, as types: flows carry it out, tests replace it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict


class LaunchedRecipe(BaseModel):
    """A recipe's flow run; `earlier` if the same event had launched it before."""

    model_config = ConfigDict(frozen=True)

    recipe: str
    flow_run_id: UUID
    earlier: bool = False


class FailedLaunch(BaseModel):
    """A recipe that Prefect's API wouldn't launch, or whose job couldn't be created; jobs' recipes as `ispyb-…`."""

    model_config = ConfigDict(frozen=True)

    recipe: str
    reason: str


@dataclass(frozen=True)
class Launch:
    """A run that is wanted.

    Parameters
    ----------
    key
        Tells one launch from another: the same key is the same run.
    name, tags
        By which people find it.
    parameters
        What is handed over beside ISPyB's: few and small, since they go through Prefect's API.
    read_by
        The run of Mimas that has read the data collection, so that this one needn't.
    """

    recipe: str
    dcid: int | None
    parameters: Mapping[str, Any]
    key: str
    name: str
    tags: Sequence[str] = ()
    read_by: UUID | None = None
