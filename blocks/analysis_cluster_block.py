"""The analysis cluster as a Prefect block: where per-image analysis runs, as an operator sets it in the UI."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, ClassVar

from prefect.blocks.core import Block
from pydantic import Field

from blocks.analysis_cluster import connect_locally, connect_to_scheduler

if TYPE_CHECKING:
    from distributed import Client


class AnalysisCluster(Block):
    """A Dask cluster for per-image analysis."""

    _block_type_slug: ClassVar[str] = "analysis-cluster"
    _block_type_name: ClassVar[str] = "Analysis cluster"
    _description: ClassVar[str] = "The Dask cluster on which images are analysed with DIALS."

    scheduler: str | None = Field(
        None, description="Address of the Dask scheduler (tcp://host:8786); unset: a cluster within the flow's process"
    )
    workers: int = Field(0, ge=0, description="Workers of a cluster within the flow's process; 0: one per core")

    def connect(self) -> AbstractAsyncContextManager[Client]:
        """Return a context that gives an asynchronous Dask client of the cluster."""
        return connect_to_scheduler(self.scheduler) if self.scheduler else connect_locally(self.workers)
