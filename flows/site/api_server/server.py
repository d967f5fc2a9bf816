"""Prefect's API server and UI on the site's database.

    python -m flows.site.api_server.server

serves on the socket that is its standard input, which supervisord holds while there's no server. There's none of its
own: another account could take the port between two servers, and would be sent the site's secret by its clients.
"""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

from blocks.errors import DatabaseUnavailable
from blocks.retrying import Pauses, retry
from blocks.settings import Settings, get_settings
from flows.site.access.secret import make_secret, read_secret
from flows.site.api_server.api_guard import ApiGuard, App, Credentials, KnownHosts
from flows.site.api_server.database import connection_url, database_socket_folder

_DATABASE_TIMEOUT_S = 60.0  # a new one is made first, which takes some 8 s


def server_environment(home: Path) -> dict[str, str]:
    """Return Prefect's settings of the server alone; what clients share is in `site_environment`."""
    return {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": connection_url(home),
        # in memory, the default, a restart of the server would crash healthy runs that hold a slot (PrefectHQ/prefect
        # pull request 20090)
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        # A flood of requests waits its turn rather than fail: 40 connections keep two cores busy (PostgreSQL takes
        # 100), and 500 requests at 20 a second are through in half of the time that each may wait for one
        "PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_SIZE": "20",
        "PREFECT_SERVER_DATABASE_SQLALCHEMY_MAX_OVERFLOW": "20",
        "PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_TIMEOUT": "60",
        "PREFECT_API_DATABASE_TIMEOUT": "60",  # s; of a statement, while the server is busy with other requests, too
        "PREFECT_API_DATABASE_CONNECTION_TIMEOUT": "60",
        # Rows of a list, where nobody asks for fewer: the worker chooses among all runs that wait
        "PREFECT_SERVER_API_DEFAULT_LIMIT": "2000",
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "P7D",  # a flow run leaves some 20
        # How far ahead a schedule's runs are made, three at least: all of those of a night without a site would run
        # when it's up again
        "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_SCHEDULED_TIME": "PT2M",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_UI_API_URL": "/api",  # of the host by whose name the UI was asked for, or cookies don't count
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(home / "prefect" / "ui"),  # not beside the code, which may be root's
        "PREFECT_LOGGING_EXTRA_LOGGERS": "",  # what the guard logs is no run's
    }


def guarded(app: App, settings: Settings, port: int) -> ApiGuard:
    """Return Prefect's application behind the site's secret."""
    secret = read_secret(settings.home) or make_secret(settings.home)
    hosts = KnownHosts.of_this_machine(settings.server_host, settings.trusted_hosts)
    return ApiGuard(app, Credentials(secret, port), hosts)


async def wait_for_database(home: Path, timeout: float = _DATABASE_TIMEOUT_S) -> None:
    """Wait until the database answers.

    Raises
    ------
    DatabaseUnavailable
        It doesn't within `timeout` seconds.
    """
    import asyncpg  # type: ignore[import-untyped]

    # By its own protocol: that its socket is there says nothing, and it refuses connections while it recovers
    async def once() -> None:
        connection = await asyncpg.connect(user="postgres", host=str(database_socket_folder(home)))
        await connection.close()

    faults = (OSError, asyncpg.PostgresError)
    try:
        await retry(once, faults, Pauses(first_s=0.1, longest_s=0.2), patience_s=timeout)
    except faults as error:
        raise DatabaseUnavailable(
            f"PostgreSQL at {database_socket_folder(home)} didn't answer within {timeout:.0f} s ({error}): "
            f"see {home / 'logs' / 'database.log'}"
        ) from error


def take_socket() -> socket.socket:
    """Return the socket that is the standard input, which no process that this one starts has then."""
    listening = socket.socket(fileno=os.dup(0))
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    return listening


def main() -> None:
    """Serve until SIGTERM."""
    listening = take_socket()
    settings = get_settings()
    os.environ.update(server_environment(settings.home))  # before Prefect is imported
    asyncio.run(wait_for_database(settings.home))

    import uvicorn
    from prefect.server.api.server import create_app

    from flows.site.api_server._prefect_private import remember_checked_schemas
    from flows.site.api_server.creations_in_turn import CreationsInTurn

    remember_checked_schemas()
    configuration = uvicorn.Config(
        guarded(CreationsInTurn(create_app(final=True)), settings, listening.getsockname()[1]),
        log_level="warning",
        access_log=False,  # links have tokens in them
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=3,  # seconds; the UI's and workers' web sockets would hold it for ever
    )
    uvicorn.Server(configuration).run(sockets=[listening])


if __name__ == "__main__":
    main()
