"""Real servers and databases, made once for the session."""

import pytest

from tests.support.ispyb_fixtures import *  # noqa: F403 - fixtures are found by their names


@pytest.fixture(scope="session")
def prefect_server():
    """A Prefect server of its own on SQLite: enough for one run at a time."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=240):
        yield
