"""What is said of an event that Prefect's server doesn't take."""

import httpx
import pytest
from prefect.deployments import flow_runs
from prefect.exceptions import PrefectHTTPStatusError

from flows.events.telling_mimas import EventRefused, MimasUnreachable, tell_mimas

WHY = "Error creating flow run: Validation failed for field 'dcid'. Failure reason: 0 is less than the minimum of 1"


@pytest.fixture
def server_answers(monkeypatch):
    def answer(status, **content):
        response = httpx.Response(status, request=httpx.Request("POST", "http://prefect/api/deployments"), **content)

        async def run_deployment(*_, **__):
            raise PrefectHTTPStatusError("it says no", request=response.request, response=response)

        monkeypatch.setattr(flow_runs, "arun_deployment", run_deployment)

    return answer


async def test_a_dcid_that_the_schema_refuses_is_no_outage(server_answers):
    server_answers(409, json={"detail": WHY})
    with pytest.raises(EventRefused, match=r"no start of data collection 0: Error creating .* minimum of 1. Send it"):
        await tell_mimas("start", 0)


async def test_a_refusal_in_another_form_is_told_as_it_is_and_shortened(server_answers):
    server_answers(422, text="x" * 10_000)
    with pytest.raises(EventRefused, match=r"x … .* characters.* … x") as told:
        await tell_mimas("start", 0)
    assert len(str(told.value)) < 1000


@pytest.mark.parametrize("status", [401, 500, 503])
async def test_any_other_answer_is_an_outage(server_answers, status):
    server_answers(status, text="no")
    with pytest.raises(MimasUnreachable, match="plaza up"):
        await tell_mimas("start", 7)
