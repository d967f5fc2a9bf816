"""Artifacts of a flow run in Prefect: one of each key, however often the run is taken up."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound

if TYPE_CHECKING:
    from prefect.client.schemas.objects import Artifact as ArtifactResponse
    from prefect.client.schemas.objects import FlowRun


class RunArtifact:
    """An artifact of the current flow run.

    It's made when it's first shown, unless the run has it from a process before this one, or from a call whose answer
    was lost; then that one is changed.

    Parameters
    ----------
    key
        What Prefect lists it by.
    make
        Makes one that shows a value.
    """

    def __init__(self, key: str, make: Callable[[Any], Artifact]) -> None:
        self._key, self._make = key, make
        self._id: UUID | None = None
        self._may_be_there = _has_begun_before()

    async def value(self) -> Any | None:
        """Return what it shows since an earlier process of the run; None if the run has none.

        Raises
        ------
        httpx.HTTPError
            Prefect's API doesn't answer, or refuses.
        """
        if not self._may_be_there:
            return None
        found = await self._find()
        self._may_be_there = False
        if found is None:
            return None
        self._id = found.id
        return found.data

    async def show(self, value: Any) -> None:
        """Have it show a value.

        Raises
        ------
        httpx.HTTPError
            Prefect's API doesn't answer, or refuses; shown again, it's still one artifact.
        """
        await self.value()  # finds one that may be there
        artifact = self._make(value)
        if self._id is not None:
            with suppress(ObjectNotFound):  # somebody has deleted it
                async with get_client() as client:
                    await client.update_artifact(self._id, ArtifactUpdate(data=await artifact.aformat()))
                return
        try:
            self._id = (await artifact.acreate()).id
        except httpx.HTTPError:
            self._may_be_there = True
            raise

    async def _find(self) -> ArtifactResponse | None:
        run = _this_run()
        if run is None:
            return None
        chosen = ArtifactFilter(
            key=ArtifactFilterKey(any_=[self._key]), flow_run_id=ArtifactFilterFlowRunId(any_=[run.id])
        )
        async with get_client() as client:
            found = await client.read_artifacts(artifact_filter=chosen, sort=ArtifactSort.CREATED_DESC, limit=1)
        return found[0] if found else None


def _has_begun_before() -> bool:
    run = _this_run()
    return run is not None and run.run_count > 0


def _this_run() -> FlowRun | None:
    context = FlowRunContext.get()
    return None if context is None else context.flow_run
