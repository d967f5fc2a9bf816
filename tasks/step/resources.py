"""What a recipe run's steps may ask of the world, as they see it.

`flows.resources.SiteResources` asks the site's services; tests have their own (`tests.support.fake_resources`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from blocks.settings import Settings

if TYPE_CHECKING:
    from distributed import Client
    from sqlalchemy import Engine

    from tasks.step.ports import Cluster, ISPyBWriter, Launcher, MailTransport


class Resources(Protocol):
    """Ports to what is beyond the steps, shared by those of a run; each is connected when it's first asked for."""

    @property
    def settings(self) -> Settings:
        """The site's settings."""
        ...

    @property
    def ispyb(self) -> Engine:
        """ISPyB's database, for reading, with the time-outs and hooks of `blocks.ispyb_connection`."""
        ...

    @property
    def ispyb_writer(self) -> ISPyBWriter:
        """What writes to ISPyB, as the site has chosen."""
        ...

    async def analysis_client(self, instead_of: Client | None = None) -> Client:
        """Return an asynchronous Dask client of the analysis cluster.

        Parameters
        ----------
        instead_of
            A client that lost its cluster: a new one is made in its stead.
        """
        ...

    @property
    def launcher(self) -> Launcher:
        """What starts runs of recipes."""
        ...

    @property
    def cluster(self) -> Cluster:
        """The cluster that runs programs as jobs.

        Raises
        ------
        ConfigurationError
            This site has none.
        """
        ...

    def mail_server(self) -> MailTransport | None:
        """Return the site's mail server; None if it has none. Call it in a thread: it may wait for Prefect's API.

        Raises
        ------
        PrefectUnavailable
            Prefect's API, which may know it, doesn't answer.
        """
        ...
