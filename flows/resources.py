"""The site's own resources: what steps ask for, connected when it's first used and closed with the run."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Self

from blocks.errors import ConfigurationError
from blocks.settings import Settings, get_settings

# Each connection's module is imported with it: a step tried by hand shall neither wait for Prefect nor for SQLAlchemy
if TYPE_CHECKING:
    from distributed import Client
    from sqlalchemy import Engine

    from blocks.smtp_server import SmtpServer
    from flows.launching import PrefectLauncher
    from tasks.ispyb_access.writing.writer import Writer
    from tasks.step.ports import Cluster


class SiteResources:
    """`tasks.step.resources.Resources` of this site. Use as an async context manager, which closes what was opened."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or get_settings()
        self._stack = AsyncExitStack()
        self._client: Client | None = None
        self._connecting = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    @cached_property
    def ispyb(self) -> Engine:
        """ISPyB's database, as the user that reads."""
        return self._ispyb_reader or self._ispyb

    @cached_property
    def ispyb_writer(self) -> Writer:
        """What writes to ISPyB, as the site has chosen."""
        from tasks.ispyb_access.writing.writer import open_writer

        writer = open_writer(self.settings, self._ispyb, self._ispyb_reader)
        self._stack.callback(writer.close)
        return writer

    @cached_property
    def _ispyb(self) -> Engine:
        """ISPyB's database, as the user that writes."""
        from blocks.site_ispyb import connect

        engine = connect(self.settings)
        self._stack.callback(engine.dispose)
        return engine

    @cached_property
    def _ispyb_reader(self) -> Engine | None:
        """ISPyB's database as the user that reads, if that is another."""
        from blocks.site_ispyb import connect_reader

        engine = connect_reader(self.settings)
        if engine is not None:
            self._stack.callback(engine.dispose)
        return engine

    async def analysis_client(self, instead_of: Client | None = None) -> Client:
        """Return an asynchronous Dask client of the analysis cluster, a new one in the stead of one that lost it."""
        from blocks.analysis_cluster import connect

        async with self._connecting:  # two steps of a run share one client
            client = self._client
            if client is None or client is instead_of:
                client = await self._stack.enter_async_context(connect(self.settings))
                self._client = client
        return client

    @cached_property
    def launcher(self) -> PrefectLauncher:
        """What starts runs of recipes: Prefect."""
        from flows.launching import PrefectLauncher

        return PrefectLauncher()

    @property
    def cluster(self) -> Cluster:
        """The cluster that runs programs as jobs: none yet."""
        raise ConfigurationError("this site has no cluster, so programs can't be run as jobs")

    def mail_server(self) -> SmtpServer | None:
        """Return the mail server of the settings, else of the block `mail-server/plaza`; None if there is none."""
        from blocks.site_mail import find_smtp_server

        return find_smtp_server(self.settings)
