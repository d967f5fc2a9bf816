"""A suspended run is told as what Prefect calls it by now."""

from __future__ import annotations

import pytest

from flows.cli.runs.suspended import as_it_stands
from flows.site.running_site import RunningSite

RUN = "0b1c2d3e-0000-4000-8000-000000000001"
SUSPENDED = "Suspended: it waits to be resumed"


@pytest.fixture
def prefect_says(home, monkeypatch):
    """Have a site whose API says this of every run."""
    RunningSite(home, "http://127.0.0.1:9/api", "http://127.0.0.1:9", "tcp://127.0.0.1:9").write()

    def says(answer):
        monkeypatch.setattr("flows.site.api_client.ask_api", lambda site, path: {f"flow_runs/{RUN}": answer}[path])

    return says


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"type": "CANCELLED", "name": "Cancelled", "message": None}, "Cancelled: after it had been suspended"),
        ({"type": "CANCELLED", "name": "Cancelled", "message": "by the UI"}, "Cancelled: by the UI"),
        ({"type": "SCHEDULED", "name": "Resuming", "message": ""}, "Resuming: after it had been suspended"),
        ({"type": "PAUSED", "name": "Suspended", "message": None}, SUSPENDED),
        (None, SUSPENDED),
    ],
)
def test_what_became_of_a_suspended_run_is_told(prefect_says, state, told):
    prefect_says({"state": state})
    assert as_it_stands(RUN, SUSPENDED) == told


def test_without_an_answer_the_record_is_the_last_that_is_known(prefect_says):
    prefect_says(None)
    assert as_it_stands(RUN, SUSPENDED) == SUSPENDED


@pytest.mark.parametrize("headline", [SUSPENDED, "Completed: all", "at work"])
def test_without_a_site_nobody_is_asked(home, headline):
    assert as_it_stands(RUN, headline) == headline
