"""The warm worker's service waits for what it needs, whatever the API does meanwhile."""

import httpx
import prefect.client.orchestration
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, Settings, temporary_settings

from flows.site import worker_service
from flows.site.worker_service import wait_for_work_pool


@pytest.fixture
def answers(monkeypatch):
    """Have the API answer, in this order, to who asks for the work pool; the last answer for good."""

    def answers(*answers):
        left = list(answers)

        async def answer(request: httpx.Request) -> httpx.Response:
            if "/work_pools/" not in request.url.path:
                return httpx.Response(200, json=True)
            status = left.pop(0) if len(left) > 1 else left[0]
            if status is None:
                raise httpx.ConnectError("All connection attempts failed")
            return httpx.Response(status, json={"name": "pool", "type": "process"})

        def client():
            return PrefectClient("http://prefect/api", httpx_settings={"transport": httpx.MockTransport(answer)})

        monkeypatch.setattr(prefect.client.orchestration, "get_client", client)
        return left

    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):  # its own tries take seconds
        yield answers


async def test_the_pool_is_waited_for_through_an_outage_of_the_api(answers):
    left = answers(404, None, 500, 200)
    await wait_for_work_pool()
    assert left == [200]


async def test_a_pool_that_does_not_come_ends_the_waiting(answers):
    answers(404)
    with pytest.raises(ObjectNotFound):
        await wait_for_work_pool(timeout=0.2)


def test_the_worker_and_its_runs_try_again_what_a_busy_server_answers_with_500(monkeypatch):
    async def serve(modules):
        assert Settings().client.retry_extra_codes == {500}

    monkeypatch.setattr(worker_service, "serve", serve)
    for name in ("PREFECT_WORKER_QUERY_SECONDS", "PREFECT_CLIENT_RETRY_EXTRA_CODES"):
        monkeypatch.setenv(name, "")  # so that it's as before afterwards
        monkeypatch.delenv(name)
    worker_service.main([])
