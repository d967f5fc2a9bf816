"""Connections that a recipe run's steps share: opened when first used, closed with the run."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import cached_property
from typing import TYPE_CHECKING

from blocks.settings import Settings, get_settings

if TYPE_CHECKING:
    from distributed import Client
    from sqlalchemy import Engine

    from tasks.ispyb_access.writing.writer import Writer


class Resources:
    """What steps connect to. Use as an async context manager, which closes what was opened."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or get_settings()
        self._stack = AsyncExitStack()
        self._client: Client | None = None
        self._connecting = asyncio.Lock()

    async def __aenter__(self) -> Resources:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    @cached_property
    def ispyb(self) -> Engine:
        """ISPyB's database, with the time-outs and hooks of `blocks.ispyb_connection`."""
        from blocks.site_ispyb import connect

        engine = connect(self.settings)
        self._stack.callback(engine.dispose)
        return engine

    @cached_property
    def ispyb_writer(self) -> Writer:
        """What writes to ISPyB, as the site has chosen."""
        from tasks.ispyb_access.writing.writer import open_writer

        writer = open_writer(self.settings, self.ispyb)
        self._stack.callback(writer.close)
        return writer

    async def analysis_client(self, instead_of: Client | None = None) -> Client:
        """Return an asynchronous Dask client of the analysis cluster.

        Parameters
        ----------
        instead_of
            A client that lost its cluster: a new one is made in its stead.
        """
        from blocks.analysis_cluster import connect

        async with self._connecting:  # two steps of a run share one client
            client = self._client
            if client is None or client is instead_of:
                client = await self._stack.enter_async_context(connect(self.settings))
                self._client = client
        return client
