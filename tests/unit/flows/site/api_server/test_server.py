"""What Prefect's server is told of its database."""

import pytest
from prefect.settings import Settings

from flows.site.api_server.database import MOST_CONNECTIONS
from flows.site.api_server.server import server_environment


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Prefect's settings of the server, as Prefect reads them."""
    for name, value in server_environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    return Settings().server


def test_a_flood_of_requests_waits_for_connections_rather_than_fail(server):
    pool = server.database.sqlalchemy
    most = pool.pool_size + pool.max_overflow
    assert 30 <= most <= MOST_CONNECTIONS / 2  # psql and a server that is being restarted find some, too
    # 500 at once, at the 20 a second that a core serves
    assert pool.pool_timeout >= 2 * 500 / 20
    assert min(server.database.timeout, server.database.connection_timeout) >= 2 * 500 / 20


def test_all_runs_that_wait_are_listed(server):
    assert server.api.default_limit >= 1_400
