"""Dask's scheduler and workers without their HTTP servers, which would tell whoever is on the machine what they do.

Dask starts them with or without a dashboard, on ports of their own, unencrypted.
"""

from __future__ import annotations

from typing import Any

from distributed import Scheduler, Worker


class ClusterScheduler(Scheduler):
    """A scheduler that listens on its own port only."""

    def start_http_server(self, *_: Any, **__: Any) -> None:
        """Start none."""


class ClusterWorker(Worker):
    """A worker that listens on its own port only."""

    def start_http_server(self, *_: Any, **__: Any) -> None:
        """Start none."""
